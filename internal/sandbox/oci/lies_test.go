package oci

import (
	"context"
	"net"
	"testing"

	"staithe/internal/guestapi"
	"staithe/internal/sandbox/sandboxtest"
	"staithe/internal/station"
)

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
