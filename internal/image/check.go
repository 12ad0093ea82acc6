package image

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"

	"staithe/internal/station"
)

// platform is the only one whose programs run here.
var platform = "linux/" + runtime.GOARCH

// elfMachines are the e_machine values of the ELF header (gabi, EM_*).
var elfMachines = map[uint16]string{3: "386", 21: "ppc64", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64", 258: "loong64"}

// checkRoot says whether a root file system can be a session's base.
func checkRoot(root *os.Root) error {
	u := &unpacker{root: root, real: map[string]string{}}
	for _, dir := range []string{"usr", "etc"} {
		if at, err := u.resolve(dir, false); err != nil {
			return noBase("it has no /%s", dir).Because(err)
		} else if _, err := root.Stat(at); err != nil {
			return noBase("its /%s cannot be read", dir).Because(err)
		}
	}
	sh, err := u.openFile("bin/sh")
	if err != nil {
		return noBase("it has no shell at /bin/sh").Because(err)
	}
	defer sh.Close()
	info, err := sh.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return noBase("its /bin/sh cannot be executed")
	}
	var head [20]byte
	if _, err := io.ReadFull(sh, head[:]); err != nil || string(head[:4]) != "\x7fELF" {
		return noBase("its /bin/sh is no Linux program")
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[5] == 2 {
		order = binary.BigEndian
	}
	if arch, ok := elfMachines[order.Uint16(head[18:])]; ok && arch != machine() {
		return otherPlatform("linux/" + arch)
	}
	return nil
}

// machine is this machine's architecture by its ELF name.
func machine() string {
	switch runtime.GOARCH {
	case "ppc64le":
		return "ppc64"
	}
	return runtime.GOARCH
}

func noBase(format string, args ...any) *station.Problem {
	p := station.Errorf(station.ErrInvalid, "no_base", format, args...)
	p.Sentence = "The image cannot be the base of a session: " + p.Sentence + "; take one of a whole system (debian, ubuntu, fedora, alpine …)."
	return p
}

func otherPlatform(has string) error {
	return station.Errorf(station.ErrInvalid, "other_platform", "The image is for %s and this machine is %s; get the one for %s.", has, platform, platform)
}

// openFile opens a file through links as a chroot would take them.
func (u *unpacker) openFile(name string) (*os.File, error) {
	for range maxLinks {
		dir, base := path.Split(name)
		at, err := u.resolve(path.Clean(dir), false)
		if err != nil {
			return nil, err
		}
		name = path.Join(at, base)
		info, err := u.root.Lstat(name)
		if err != nil {
			return nil, err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			return u.root.Open(name)
		}
		target, err := u.root.Readlink(name)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(target, "/") {
			target = path.Join("/", at, target)
		}
		name = strings.TrimPrefix(path.Clean(target), "/")
	}
	return nil, errors.New("a circle of links")
}
