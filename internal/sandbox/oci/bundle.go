package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// configEnv is guestapi.ConfigEnv: this room may not import that one.
const configEnv = "STAITHE_GUEST_CONFIG"

var hostnamePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// checkSpec refuses what would make another sandbox than the one meant: names
// are refused, never folded. Errors wrap station.ErrInvalid.
func checkSpec(spec sandbox.Spec) error {
	bad := func(format string, args ...any) error {
		return station.Errorf(station.ErrInvalid, "bad_sandbox", format, args...)
	}
	if !spec.Session.Valid() {
		return bad("The session id %+q is not one.", spec.Session)
	}
	if err := station.CheckName("user", spec.UserName); err != nil {
		return err
	}
	if err := station.CheckUIDRange(spec.UIDRange); err != nil {
		return err
	}
	if !hostnamePattern.MatchString(spec.Hostname) {
		return bad("The host name %+q is not usable: take 1 to 63 of a–z, 0–9 and -, not starting with -.", spec.Hostname)
	}
	if info, err := os.Lstat(spec.Home); err != nil || !info.IsDir() || !filepath.IsAbs(spec.Home) {
		return bad("The home folder is not there; restore it or make the user anew.")
	}
	if info, err := os.Stat(spec.Guest); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 || !filepath.IsAbs(spec.Guest) {
		return station.Errorf(station.ErrUnavailable, "no_guest_binary",
			"The program that runs inside sandboxes is missing on the server; install staithe again.").Because(err)
	}
	return nil
}

// etcInside is where a sandbox's own files of /etc are; the base has links to
// them, so that one mount brings them all.
const etcInside = "/run/staithe/etc"

// etcFiles are the files of /etc that differ between sandboxes.
func etcFiles(spec sandbox.Spec) map[string]string {
	home := homeInside(spec)
	return map[string]string{
		"passwd": "root:x:0:0:root:/:/usr/sbin/nologin\n" +
			fmt.Sprintf("%s:x:%d:%d:%s:%s:/bin/bash\n", passwdName(spec.UserName), station.SandboxUID, station.SandboxUID, spec.UserName, home) +
			"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"group": "root:x:0:\ntty:x:5:\n" +
			fmt.Sprintf("%s:x:%d:\n", passwdName(spec.UserName), station.SandboxUID) + "nogroup:x:65534:\n",
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

func homeInside(spec sandbox.Spec) string { return "/home/" + spec.UserName }

// writeBundle fills the sandbox's folder with all that the engine reads.
func writeBundle(dir string, spec sandbox.Spec, p *prepared) error {
	etc := filepath.Join(dir, "etc")
	if err := os.Mkdir(etc, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(etc, 0o755); err != nil { // whatever the umask: all inside read it
		return err
	}
	for name, text := range etcFiles(spec) {
		if err := writeOpen(filepath.Join(etc, name), text); err != nil {
			return err
		}
	}
	config := p.shared.spec(spec, p)
	config.Mounts = append(config.Mounts, bindReadOnly(etc, etcInside))
	b, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("encode bundle: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600)
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

// spec is the OCI configuration of one sandbox.
func (s *sharedSpec) spec(spec sandbox.Spec, p *prepared) *specs.Spec {
	uids, gids := p.ids.maps(spec.UIDRange)
	mounts := append([]specs.Mount(nil), s.mounts...)
	mounts = append(mounts,
		bindReadOnly(spec.Guest, guestInside),
		// The r-forms: crun 1.8 forgets the plain ones on a writable bind.
		specs.Mount{Destination: homeInside(spec), Type: "bind", Source: spec.Home, Options: []string{"rbind", "rnosuid", "rnodev"}},
	)
	out := &specs.Spec{
		Version: "1.0.2",
		Root:    &specs.Root{Path: p.rootfs, Readonly: true},
		Process: &specs.Process{
			User:            specs.User{UID: 0, GID: 0},
			Args:            []string{guestInside},
			Env:             []string{"PATH=/usr/local/bin:/usr/bin:/bin", configEnv + "=" + spec.Config},
			Cwd:             "/",
			Capabilities:    s.caps,
			Rlimits:         s.rlimits,
			NoNewPrivileges: true,
		},
		Hostname: spec.Hostname,
		Mounts:   mounts,
		Linux: &specs.Linux{
			UIDMappings:   uids,
			GIDMappings:   gids,
			Namespaces:    s.spaces,
			Seccomp:       s.seccomp,
			MaskedPaths:   maskedPaths,
			ReadonlyPaths: readonlyPaths,
		},
	}
	if s.cgroups {
		out.Linux.CgroupsPath = "/" + cgroupParent + "/" + string(spec.Session)
		out.Linux.Resources = s.resource
	}
	return out
}
