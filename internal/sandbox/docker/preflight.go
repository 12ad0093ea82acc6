package docker

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/moby/moby/client"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// Preflight asks whether the service answers. An empty host is the usual place.
func Preflight(ctx context.Context, kind Kind, host string) []sandbox.Check {
	if host == "" {
		host = DefaultHost(kind)
	}
	c := sandbox.Check{Name: "runtime", Fix: "apt-get install docker.io && " + start(kind)}
	if kind == Podman {
		c.Fix = "apt-get install podman && " + start(kind)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	api, err := client.New(client.WithHost(host))
	if err != nil {
		c.Detail = "the " + string(kind) + " service's address is not usable: " + err.Error()
		return []sandbox.Check{c}
	}
	defer api.Close()
	v, err := api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		c.Detail = "the " + string(kind) + " service does not answer: " + err.Error()
		return []sandbox.Check{c}
	}
	m, err := askMode(ctx, api)
	if err == nil {
		err = m.serves(kind)
	}
	if p := (*station.Problem)(nil); errors.As(err, &p) {
		c.Detail, c.Fix = p.Sentence, "STAITHE_RUNTIME=podman, and "+start(Podman)
		return []sandbox.Check{c}
	}
	if err != nil {
		c.Detail = "the " + string(kind) + " service does not say how it runs: " + err.Error()
		return []sandbox.Check{c}
	}
	detail := string(kind) + " at " + host + ", version " + v.Version + ". A sandbox: " + m.boundary()
	if m.old {
		detail += " W" + noLimits[1:] + "."
	}
	return []sandbox.Check{{Name: "runtime", OK: true, Detail: detail}}
}

// start is the command that starts a service for this account.
func start(kind Kind) string {
	switch {
	case kind == Docker:
		return "systemctl start docker"
	case os.Geteuid() != 0:
		return "systemctl --user start podman.socket"
	}
	return "systemctl start podman.socket"
}
