package oci

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"staithe/internal/sandbox"
	"staithe/internal/sandbox/confine"
	"staithe/internal/sandbox/hostbase"
)

// parts are what the steps before the bundle made ready.
type parts struct {
	limits bounds
	home   string            // what is bound as the home
	root   string            // the root file system
	adapt  func(*specs.Spec) // for engines that need it said differently; may be nil
}

// writeBundle fills the sandbox's folder with all that the engine reads.
func (r *Runtime) writeBundle(dir string, spec sandbox.Spec, p *prepared, made parts) error {
	config, err := r.spec(spec, p, made)
	if err != nil {
		return err
	}
	if spec.Base == "" {
		etc := filepath.Join(dir, "etc")
		if err := hostbase.WriteEtc(etc, spec); err != nil {
			return err
		}
		config.Mounts = append(config.Mounts, bindReadOnly(etc, hostbase.EtcInside))
	}
	if made.adapt != nil {
		made.adapt(config)
	}
	b, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("encode bundle: %w", err)
	}
	if err := writeNotes(dir, notes{Limits: spec.Limits, UIDRange: spec.UIDRange, Base: p.base, Image: spec.Base != ""}); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600)
}

// spec is the OCI configuration of one sandbox.
func (r *Runtime) spec(spec sandbox.Spec, p *prepared, made parts) (*specs.Spec, error) {
	s := p.shared
	kind := s.plain
	if spec.Sudo {
		kind = s.sudo
	}
	uids, gids := p.ids.maps(spec.UIDRange)
	rlimits, err := made.limits.rlimits()
	if err != nil {
		return nil, err
	}
	mounts := baseMounts(made.limits)
	if spec.Base == "" {
		mounts = append(mounts, s.hostMounts...)
	}
	mounts = append(mounts,
		bindReadOnly(spec.Guest, confine.GuestInside),
		// The r-forms: crun 1.8 forgets the plain ones on a writable bind.
		specs.Mount{Destination: hostbase.HomeInside(spec), Type: "bind", Source: made.home, Options: []string{"rbind", "rnosuid", "rnodev"}},
	)
	out := &specs.Spec{
		Version: "1.0.2",
		Root:    &specs.Root{Path: made.root, Readonly: spec.Base == ""},
		Process: &specs.Process{
			User:            specs.User{UID: 0, GID: 0},
			Args:            []string{confine.GuestInside},
			Env:             []string{"PATH=/usr/local/bin:/usr/bin:/bin", confine.ConfigEnv + "=" + spec.Config},
			Cwd:             "/",
			Capabilities:    kind.caps,
			Rlimits:         rlimits,
			NoNewPrivileges: !spec.Sudo,
		},
		Hostname: spec.Hostname,
		Mounts:   mounts,
		Linux: &specs.Linux{
			UIDMappings:   uids,
			GIDMappings:   gids,
			Namespaces:    s.spaces,
			Seccomp:       kind.seccomp,
			MaskedPaths:   confine.MaskedPaths,
			ReadonlyPaths: confine.ReadonlyPaths,
			Sysctl:        s.sysctls,
		},
	}
	if r.withCgroups() {
		out.Linux.CgroupsPath = filepath.Join(r.cgroups.parent, string(spec.Session))
		out.Linux.Resources = r.cgroups.resources(made.limits)
	}
	return out, nil
}
