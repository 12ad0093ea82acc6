package hostbase

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// maxAccounts bounds what is read of an image's account files.
const maxAccounts = 1 << 20

// ImageUser is the person among the accounts of an image: uid and gid 1000, in
// the place of the image's own where it has one. All other accounts stay.
type ImageUser struct {
	Name   string // the login name inside
	Passwd string // /etc/passwd with the person
	Group  string // /etc/group with the person's group
}

// NewImageUser reads an image's accounts. The image is hostile: its files are
// read through os.Root, as far as a bound, and lines that are no accounts are
// left out.
func NewImageUser(rootfs string, spec sandbox.Spec) (ImageUser, error) {
	root, err := os.OpenRoot(rootfs)
	if err != nil {
		return ImageUser{}, err
	}
	defer root.Close()
	passwd, group := accounts(root, "etc/passwd", 7), accounts(root, "etc/group", 4)
	const id = station.SandboxUID
	u := ImageUser{Name: spec.UserName}
	for _, all := range [][][]string{passwd, group} {
		for _, f := range all {
			if f[0] == u.Name && f[2] != strconv.Itoa(id) || f[0] == "root" && u.Name == "root" {
				u.Name = spec.UserName + "-user" // called like another account
			}
		}
	}
	shell, replaced := "/bin/sh", ""
	if _, err := root.Stat("bin/bash"); err == nil {
		shell = "/bin/bash"
	}
	passwd = slices.DeleteFunc(passwd, func(f []string) bool {
		mine := f[2] == strconv.Itoa(id)
		if mine {
			shell, replaced = f[6], f[0]
		}
		return mine || f[0] == u.Name
	})
	group = slices.DeleteFunc(group, func(f []string) bool { return f[2] == strconv.Itoa(id) || f[0] == u.Name })
	for _, f := range group {
		members := strings.Split(f[3], ",")
		if i := slices.Index(members, replaced); i >= 0 && replaced != "" {
			members[i] = u.Name
			f[3] = strings.Join(members, ",")
		}
	}
	// "*", not "x": there is no password, and no line in /etc/shadow to ask for.
	passwd = append(passwd, []string{u.Name, "*", strconv.Itoa(id), strconv.Itoa(id), spec.UserName, HomeInside(spec), shell})
	group = append(group, []string{u.Name, "x", strconv.Itoa(id), ""})
	u.Passwd, u.Group = table(passwd), table(group)
	return u, nil
}

// accounts reads the lines of an account file that have that many fields.
func accounts(root *os.Root, name string, fields int) [][]string {
	f, err := root.Open(name)
	if err != nil {
		return nil // an image without one has no accounts of its own
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxAccounts))
	if err != nil {
		return nil
	}
	var out [][]string
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		line := strings.Split(s.Text(), ":")
		if _, err := strconv.ParseUint(line[min(2, len(line)-1)], 10, 32); err == nil && len(line) == fields && line[0] != "" {
			out = append(out, line)
		}
	}
	return out
}

func table(lines [][]string) string {
	var b strings.Builder
	for _, f := range lines {
		b.WriteString(strings.Join(f, ":") + "\n")
	}
	return b.String()
}

// WriteUpper writes the session's own files of /etc into a new layer over the
// image, as its root's: there, unlike in mounts, programs can replace them.
// Names with a link in the image are plain files here. With Sudo the person may
// become root without a password (sudoers(5)).
func (u ImageUser) WriteUpper(upper string, owner int, spec sandbox.Spec) error {
	files := etcFiles(spec, station.SandboxUID)
	files["passwd"], files["group"] = u.Passwd, u.Group
	dirs := []string{"etc"}
	if spec.Sudo {
		files["sudoers.d/staithe"] = fmt.Sprintf("%s ALL=(ALL:ALL) NOPASSWD: ALL\n", u.Name)
		dirs = append(dirs, "etc/sudoers.d")
	}
	for _, name := range dirs {
		dir := filepath.Join(upper, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
		if err := os.Lchown(dir, owner, owner); err != nil {
			return err
		}
	}
	for name, text := range files {
		path := filepath.Join(upper, "etc", name)
		if err := writeOpen(path, text); err != nil {
			return err
		}
		if strings.HasPrefix(name, "sudoers.d/") {
			if err := os.Chmod(path, 0o440); err != nil {
				return err
			}
		}
		if err := os.Lchown(path, owner, owner); err != nil {
			return err
		}
	}
	return nil
}
