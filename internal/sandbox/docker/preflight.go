package docker

import (
	"context"
	"time"

	"github.com/moby/moby/client"

	"staithe/internal/sandbox"
)

// Preflight asks whether the service answers. An empty host is the usual place.
func Preflight(ctx context.Context, kind Kind, host string) []sandbox.Check {
	if host == "" {
		host = DefaultHost(kind)
	}
	c := sandbox.Check{Name: "runtime", Fix: "apt-get install docker.io && systemctl start docker"}
	if kind == Podman {
		c.Fix = "apt-get install podman && systemctl start podman.socket"
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
	return []sandbox.Check{{Name: "runtime", OK: true, Detail: string(kind) + " at " + host + ", version " + v.Version}}
}
