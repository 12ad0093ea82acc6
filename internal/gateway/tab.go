package gateway

import (
	"context"
	"errors"
	"strings"
	"unicode"

	"staithe/internal/guestapi"
	"staithe/internal/station"
)

// owner is how the user's own requests present themselves to a guest.
func owner(u station.User) guestapi.Identity {
	return guestapi.Identity{User: u.ID, Name: u.Name, Role: station.RoleOwner}
}

// guest reaches the guest of a session that is awake. It never wakes one.
func (g *Gateway) guest(ctx context.Context, s station.Session) (*guestapi.Client, error) {
	switch s.State {
	case station.StateAsleep:
		return nil, station.Errorf(station.ErrConflict, "asleep", "The session %s is asleep; wake it first.", s.Name)
	case station.StateFailed:
		return nil, station.Errorf(station.ErrConflict, "failed", "The session %s could not start (%s); wake it to try again.", s.Name, plain(s.Reason))
	}
	return g.fleet.Guest(ctx, s.ID)
}

// fromGuest keeps a guest's refusal from being taken for the gateway's own: a
// guest cannot sign anybody out or say that a session is gone, and its words
// are short and plain.
func fromGuest(err error) error {
	p, ok := errors.AsType[*station.Problem](err)
	if !ok {
		return err
	}
	for _, kind := range []error{station.ErrUnauthenticated, station.ErrForbidden} {
		if errors.Is(p.Kind, kind) {
			return station.Errorf(station.ErrUnavailable, "guest_refused",
				"The session's guest does not take this server's word; put the session to sleep and wake it again.").Because(err)
		}
	}
	q := *p
	q.Code, q.Sentence = plain(p.Code), plain(p.Sentence)
	return &q
}

// maxPlain bounds a hostile sentence, in bytes.
const maxPlain = 300

// plain makes hostile text one short line without control characters.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	return clip(s, maxPlain)
}

// clip cuts at a character's boundary.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// open finds the caller's session and its guest.
func (g *Gateway) open(ctx context.Context, c caller, ref string) (*guestapi.Client, error) {
	s, err := g.fleet.Get(ctx, c.User.ID, ref)
	if err != nil {
		return nil, err
	}
	return g.guest(ctx, s)
}
