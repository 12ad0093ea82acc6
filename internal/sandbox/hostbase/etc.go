package hostbase

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// etcAllowed is all of the host's /etc that sandboxes get: what programs under
// /usr need to work, and nothing that names the host, its people or its keys.
var etcAllowed = []string{
	"alternatives", "bash.bashrc", "bash_completion", "bash_completion.d", "bashrc", "ca-certificates", "ca-certificates.conf",
	"crypto-policies", "debian_version", "emacs", "ethertypes", "fedora-release", "fish", "fonts", "gai.conf", "groff", "host.conf",
	"inputrc", "java-*", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "locale.alias", "locale.conf", "localtime", "lsb-release",
	"magic", "magic.mime", "mailcap", "manpath.config", "mime.types", "nanorc", "networks", "os-release", "perl",
	"pki/ca-trust/extracted", "pki/tls/certs", "profile", "profile.d", "protocols", "python3*", "redhat-release", "rpc",
	"screenrc", "services", "sgml", "skel", "ssl/certs", "ssl/openssl.cnf", "terminfo", "timezone", "tmux.conf", "vim", "xml", "zsh",
}

// maxEtcFile bounds one copied file: the largest is the library cache.
const maxEtcFile = 16 << 20

// walkEtc calls f, in a stable order, for each allowed folder, world-readable
// file and link, with its path below /etc. It follows no link.
func walkEtc(f func(name string, info fs.FileInfo) error) error {
	for _, pattern := range etcAllowed {
		matches, err := filepath.Glob(filepath.Join("/etc", pattern))
		if err != nil {
			return fmt.Errorf("pattern %s: %w", pattern, err)
		}
		for _, m := range matches {
			if err := walkOne(m, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func walkOne(top string, f func(string, fs.FileInfo) error) error {
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil // gone meanwhile, or not for everyone
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil // gone meanwhile
		}
		mode := info.Mode()
		switch {
		case mode.IsDir() && mode&0o005 != 0o005:
			return fs.SkipDir
		case mode.IsRegular() && (mode&0o004 == 0 || info.Size() > maxEtcFile):
			return nil
		case !mode.IsDir() && !mode.IsRegular() && mode.Type() != fs.ModeSymlink:
			return nil
		}
		name, err := filepath.Rel("/etc", path)
		if err != nil {
			return err
		}
		return f(name, info)
	})
}

func copyEtc(dest string) error {
	return walkEtc(func(name string, info fs.FileInfo) error {
		to := filepath.Join(dest, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		switch {
		case info.IsDir():
			return os.MkdirAll(to, 0o755)
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(filepath.Join("/etc", name))
			if err != nil {
				return err
			}
			return os.Symlink(target, to)
		}
		return copyFile(filepath.Join("/etc", name), to, info.Mode().Perm())
	})
}

// copyFile copies a file that is no link.
func copyFile(from, to string, mode fs.FileMode) (err error) {
	in, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode|0o200)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, io.LimitReader(in, maxEtcFile))
	return err
}
