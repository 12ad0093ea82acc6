// Package hostbase makes the base file system that sandboxes without an image
// share: the host's /usr read-only, an allow-list of its /etc, and a sandbox's own
// few files of /etc. Which runtime makes the sandbox does not matter.
package hostbase

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// baseVersion changes when the base is built another way.
const baseVersion = "5"

// Base is the read-only root that all sandboxes share.
type Base struct {
	Name   string   // a folder under the one given to Ensure; changes with its content
	Rootfs string   // host path
	Bound  []string // /bin and the like on hosts where they are folders, not links into /usr
}

// baseFolders are there for the engine to mount on, or to be empty.
var baseFolders = []string{"dev", "etc", "home", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "usr",
	"var/cache", "var/lib", "var/log", "var/mail", "var/tmp"}

// usrLinks are links into /usr on hosts with a merged /usr.
var usrLinks = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}

// baseLinks are links that programs expect.
var baseLinks = map[string]string{
	"var/run": "/run", "var/lock": "/run/lock", "etc/mtab": "/proc/self/mounts",
	"etc/passwd": EtcInside + "/passwd", "etc/group": EtcInside + "/group",
	"etc/hosts": EtcInside + "/hosts", "etc/hostname": EtcInside + "/hostname", "etc/resolv.conf": EtcInside + "/resolv.conf",
}

// etcOwn are base files of our own.
var etcOwn = map[string]string{
	// The host's may ask daemons that are not there.
	"nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\nrpc: files\n",
	"shells":        "/bin/sh\n/bin/bash\n/usr/bin/bash\n/usr/bin/zsh\n/usr/bin/fish\n",
	// The host's profile sets PATH anew; the guest's commands are to be found.
	"profile.d/staithe.sh": "PATH=\"$PATH:/run/staithe/bin\"\n",
}

// Ensure returns the base for the host as it is now, building it when the
// host's /etc changed since, and removes others but those to keep.
func Ensure(dir string, keep func(name string) bool) (Base, error) {
	sum, err := fingerprint()
	if err != nil {
		return Base{}, err
	}
	b := Base{Name: sum, Rootfs: filepath.Join(dir, sum, "rootfs")}
	for _, name := range usrLinks {
		if info, err := os.Lstat("/" + name); err == nil && info.IsDir() {
			b.Bound = append(b.Bound, "/"+name)
		}
	}
	if _, err := os.Stat(b.Rootfs); err != nil {
		if err := buildBase(dir, b); err != nil {
			return Base{}, err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return Base{}, err
	}
	for _, e := range entries {
		if e.Name() != sum && !keep(e.Name()) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return Base{}, err
			}
		}
	}
	return b, nil
}

// buildBase builds beside and renames: a base is there whole or not at all.
func buildBase(dir string, b Base) (err error) {
	tmp, err := os.MkdirTemp(dir, ".new-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(tmp)
		}
	}()
	rootfs := filepath.Join(tmp, "rootfs")
	if err := mkdirs(rootfs, baseFolders); err != nil {
		return err
	}
	if err := linkUsr(rootfs, b.Bound); err != nil {
		return err
	}
	for path, target := range baseLinks {
		if err := os.Symlink(target, filepath.Join(rootfs, path)); err != nil {
			return err
		}
	}
	if err := copyEtc(filepath.Join(rootfs, "etc")); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(rootfs, "etc/profile.d"), 0o755); err != nil {
		return err
	}
	for name, text := range etcOwn {
		if err := os.WriteFile(filepath.Join(rootfs, "etc", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	// The umask may have closed what everyone inside must read.
	if err := openModes(rootfs); err != nil {
		return err
	}
	// runc gives what it mounts the mode of the folder below, whatever is asked.
	for _, name := range []string{"tmp", "var/tmp"} {
		if err := os.Chmod(filepath.Join(rootfs, name), 0o777|fs.ModeSticky); err != nil {
			return err
		}
	}
	return os.Rename(tmp, filepath.Join(dir, b.Name))
}

func mkdirs(root string, names []string) error {
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// linkUsr repeats the host's links, or makes folders to bind the host's on.
func linkUsr(rootfs string, bound []string) error {
	for _, name := range usrLinks {
		if target, err := os.Readlink("/" + name); err == nil {
			if err := os.Symlink(target, filepath.Join(rootfs, name)); err != nil {
				return err
			}
		}
	}
	return mkdirs(rootfs, bound)
}

func openModes(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Chmod(path, 0o755)
		case d.Type().IsRegular():
			info, err := d.Info()
			if err != nil {
				return err
			}
			return os.Chmod(path, info.Mode().Perm()&0o111|0o644)
		}
		return nil
	})
}

// fingerprint changes with anything the base is made of.
func fingerprint() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, baseVersion)
	for _, name := range usrLinks {
		target, err := os.Readlink("/" + name)
		fmt.Fprintln(h, name, target, err == nil)
	}
	err := walkEtc(func(name string, info fs.FileInfo) error {
		writeStamp(h, name, info)
		return nil
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

func writeStamp(h hash.Hash, name string, info fs.FileInfo) {
	_, _ = io.WriteString(h, fmt.Sprintln(name, info.Mode(), info.Size(), info.ModTime().UnixNano())) // a hash takes everything
}
