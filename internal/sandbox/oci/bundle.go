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

// writeBundle fills the sandbox's folder with all that the engine reads.
func (r *Runtime) writeBundle(dir string, spec sandbox.Spec, p *prepared, limits bounds, home string) error {
	etc := filepath.Join(dir, "etc")
	if err := hostbase.WriteEtc(etc, spec); err != nil {
		return err
	}
	config, err := r.spec(spec, p, limits, home)
	if err != nil {
		return err
	}
	config.Mounts = append(config.Mounts, bindReadOnly(etc, hostbase.EtcInside))
	b, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("encode bundle: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600)
}

// spec is the OCI configuration of one sandbox.
func (r *Runtime) spec(spec sandbox.Spec, p *prepared, limits bounds, home string) (*specs.Spec, error) {
	s := p.shared
	uids, gids := p.ids.maps(spec.UIDRange)
	rlimits, err := limits.rlimits()
	if err != nil {
		return nil, err
	}
	mounts := append(baseMounts(limits), s.hostMounts...)
	mounts = append(mounts,
		bindReadOnly(spec.Guest, confine.GuestInside),
		// The r-forms: crun 1.8 forgets the plain ones on a writable bind.
		specs.Mount{Destination: hostbase.HomeInside(spec), Type: "bind", Source: home, Options: []string{"rbind", "rnosuid", "rnodev"}},
	)
	out := &specs.Spec{
		Version: "1.0.2",
		Root:    &specs.Root{Path: p.rootfs, Readonly: true},
		Process: &specs.Process{
			User:            specs.User{UID: 0, GID: 0},
			Args:            []string{confine.GuestInside},
			Env:             []string{"PATH=/usr/local/bin:/usr/bin:/bin", confine.ConfigEnv + "=" + spec.Config},
			Cwd:             "/",
			Capabilities:    s.caps,
			Rlimits:         rlimits,
			NoNewPrivileges: true,
		},
		Hostname: spec.Hostname,
		Mounts:   mounts,
		Linux: &specs.Linux{
			UIDMappings:   uids,
			GIDMappings:   gids,
			Namespaces:    s.spaces,
			Seccomp:       s.seccomp,
			MaskedPaths:   confine.MaskedPaths,
			ReadonlyPaths: confine.ReadonlyPaths,
		},
	}
	if r.withCgroups() {
		out.Linux.CgroupsPath = filepath.Join(r.cgroups.parent, string(spec.Session))
		out.Linux.Resources = r.cgroups.resources(limits)
	}
	return out, nil
}
