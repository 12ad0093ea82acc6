package hostbase

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// EtcInside is where a sandbox's own files of /etc are; the base has links to
// them, so that one mount brings them all.
const EtcInside = "/run/staithe/etc"

// etcFiles are the files of /etc that differ between sandboxes.
func etcFiles(spec sandbox.Spec, person int) map[string]string {
	home := HomeInside(spec)
	// No name server: lookups fail at once instead of waiting for one.
	resolv := "# this sandbox has only its loopback\n"
	if spec.Resolver != "" {
		resolv = "nameserver " + spec.Resolver + "\noptions timeout:5 attempts:2\n"
	}
	return map[string]string{
		"resolv.conf": resolv,
		"passwd": "root:x:0:0:root:/:/usr/sbin/nologin\n" +
			fmt.Sprintf("%s:x:%d:%d:%s:%s:/bin/bash\n", passwdName(spec.UserName), person, person, spec.UserName, home) +
			"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"group": "root:x:0:\ntty:x:5:\n" +
			fmt.Sprintf("%s:x:%d:\n", passwdName(spec.UserName), person) + "nogroup:x:65534:\n",
		"hostname": spec.Hostname + "\n",
		"hosts":    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t" + spec.Hostname + "\n",
	}
}

// passwdName keeps a user who is called like a system account apart from it.
func passwdName(name string) string {
	switch name {
	case "root", "nobody", "tty", "nogroup":
		return name + "-user"
	}
	return name
}

// HomeInside is where the person's home is in the sandbox.
func HomeInside(spec sandbox.Spec) string { return "/home/" + spec.UserName }

// WriteEtc writes the sandbox's own files of /etc into a new folder dir, to be
// mounted read-only at EtcInside.
func WriteEtc(dir string, spec sandbox.Spec) error {
	return WriteEtcAs(dir, spec, station.SandboxUID)
}

// WriteEtcAs is WriteEtc for a sandbox whose person has another uid and gid than
// station.SandboxUID, as nothing maps it.
func WriteEtcAs(dir string, spec sandbox.Spec, person int) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask: all inside read it
		return err
	}
	for name, text := range etcFiles(spec, person) {
		if err := writeOpen(filepath.Join(dir, name), text); err != nil {
			return err
		}
	}
	return nil
}

// writeOpen writes a file that everyone may read, whatever the umask.
func writeOpen(path, text string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return err
}
