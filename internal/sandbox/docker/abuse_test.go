package docker

import (
	"context"
	"net"
	"testing"

	"staithe/internal/guestapi"
	"staithe/internal/sandbox/docker/servicetest"
	"staithe/internal/sandbox/sandboxtest"
	"staithe/internal/station"
)

// eachKilled runs a test with every service, whose child test has that service too.
func eachKilled(t *testing.T, f func(t *testing.T, open sandboxtest.Open, able sandboxtest.Abilities, childTest string)) {
	for _, kind := range []Kind{Docker, Podman} {
		t.Run(string(kind), func(t *testing.T) {
			open := opener(t, kind)
			t.Setenv(servicetest.HostEnv+string(kind), need(t, kind))
			t.Setenv("STAITHE_TEST_KIND", string(kind))
			f(t, open, able(kind), "TestChild")
		})
	}
}

func TestAbuse40_KilledInTheMiddleOfAStart(t *testing.T) { eachKilled(t, sandboxtest.KilledStarts) }

func TestAbuse39_GuestsThatLie(t *testing.T) {
	each(t, func(t *testing.T, open sandboxtest.Open, able sandboxtest.Abilities) {
		sandboxtest.GuestsThatLie(t, open, able, askGuest)
	})
}

// askGuest is how a server asks a guest whether it lives.
func askGuest(ctx context.Context, session station.ID, dial func(context.Context) (net.Conn, error)) error {
	signer, err := guestapi.NewSigner(guestapi.NewSeed())
	if err != nil {
		return err
	}
	c := guestapi.NewClient(session, signer, dial)
	defer c.Close()
	_, err = c.Health(ctx)
	return err
}
