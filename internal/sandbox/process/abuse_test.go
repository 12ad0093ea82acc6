package process

import (
	"context"
	"net"
	"testing"

	"staithe/internal/guestapi"
	"staithe/internal/sandbox/sandboxtest"
	"staithe/internal/station"
)

func TestAbuse40_KilledInTheMiddleOfAStart(t *testing.T) {
	sandboxtest.KilledStarts(t, open, able, "TestChild")
}

func TestAbuse39_GuestsThatLie(t *testing.T) { sandboxtest.GuestsThatLie(t, open, able, askGuest) }

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
