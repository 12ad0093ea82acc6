package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"staithe/internal/config"
	"staithe/internal/sandbox"
	"staithe/internal/sandbox/docker"
	"staithe/internal/sandbox/oci"
	"staithe/internal/sandbox/process"
	"staithe/internal/station"
)

// newRuntime is every runtime that the settings name, behind one. The default is
// made ready here, so that a server that cannot make sandboxes does not start.
// One that no setting names is among them only while it has something left to be
// found; process is never the default unless --runtime says so.
func newRuntime(ctx context.Context, cfg config.Config, data string, log *slog.Logger) (_ *sandbox.Router, err error) {
	containers, err := oci.New(oci.Options{Data: data, Engine: ociEngine(cfg), Log: log})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, containers.Close())
		}
	}()
	runtimes := map[string]sandbox.Runtime{"": containers, "crun": containers, "runc": containers, "runsc": containers}
	if named(cfg, runtimeProcess) || process.Left(data) {
		if runtimes[runtimeProcess], err = process.New(process.Options{Data: data, Log: log}); err != nil {
			return nil, err
		}
	}
	for _, kind := range []docker.Kind{docker.Docker, docker.Podman} {
		if !named(cfg, string(kind)) && !docker.Left(data, kind) {
			continue
		}
		service, err := docker.New(docker.Options{Data: data, Kind: kind, Log: log})
		if err != nil {
			return nil, err
		}
		runtimes[string(kind)] = service
		go func() { // a service that is down keeps nobody from starting this one
			if err := service.Prepare(ctx); err != nil {
				log.Warn("no session of this runtime can start yet", "runtime", kind, "err", err)
			}
		}()
	}
	def := engine(cfg)
	if runtimes[def] == nil {
		return nil, station.Errorf(station.ErrUnavailable, "no_runtime", "This server cannot drive the runtime %s; set --runtime to another.", cfg.Runtime)
	}
	if runtimes[def] == sandbox.Runtime(containers) {
		if err := containers.Prepare(ctx); err != nil {
			return nil, err
		}
	}
	return sandbox.NewRouter(runtimes, def)
}

// named says whether the default or a class is of that runtime.
func named(cfg config.Config, runtime string) bool {
	return cfg.Runtime == runtime || slices.ContainsFunc(cfg.Classes, func(c config.Class) bool { return c.Runtime == runtime })
}

// ociEngine is the OCI runtime for sessions that name none.
func ociEngine(cfg config.Config) string {
	switch cfg.Runtime {
	case "crun", "runc", "runsc":
		return cfg.Runtime
	}
	return ""
}

// preflight looks whether a runtime's sandboxes can be made here; an empty name
// is the default's.
func preflight(runtime string) []sandbox.Check {
	switch runtime {
	case "", "crun", "runc", "runsc":
		return oci.Preflight(runtime)
	case string(docker.Docker), string(docker.Podman):
		return docker.Preflight(context.Background(), docker.Kind(runtime), "")
	case runtimeProcess:
		return []sandbox.Check{{Name: "runtime", OK: true, Detail: "process: NO ISOLATION, for development only"}}
	}
	return []sandbox.Check{{Name: "runtime", Detail: "this server cannot drive the runtime " + runtime, Fix: "set the runtime to crun, runc or runsc"}}
}
