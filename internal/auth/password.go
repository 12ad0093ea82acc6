package auth

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"

	"staithe/internal/station"
)

const (
	minPassword = 8    // characters (NIST SP 800-63B section 5.1.1.2)
	maxPassword = 1024 // bytes: bounds the work of hashing

	maxQueue = 15 * time.Second // in the queue for hashing
)

// CheckPassword says whether a password may be set. The error wraps ErrInvalid.
func CheckPassword(p Secret) error {
	if utf8.RuneCountInString(p.text) < minPassword {
		return station.Errorf(station.ErrInvalid, "password_short", "The password is too short: take at least %d characters.", minPassword)
	}
	if len(p.text) > maxPassword {
		return station.Errorf(station.ErrInvalid, "password_long", "The password is too long: take at most %d bytes.", maxPassword)
	}
	return nil
}

// hasher hashes passwords, a few at once: each hash takes tens of MiB, and
// logins come from strangers.
type hasher struct {
	params *argon2id.Params
	slots  chan struct{}
	dummy  string // compared with when there is no user, so that it takes as long
}

func newHasher(params *argon2id.Params) (*hasher, error) {
	dummy, err := argon2id.CreateHash(mint("").text, params)
	if err != nil {
		return nil, fmt.Errorf("hash a password: %w", err)
	}
	return &hasher{params: params, slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), dummy: dummy}, nil
}

// acquire waits for a turn, but not longer than a person would.
func (h *hasher) acquire(ctx context.Context) (release func(), err error) {
	patience := time.NewTimer(maxQueue)
	defer patience.Stop()
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-patience.C:
		return nil, limited(maxQueue)
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the password hasher: %w", ctx.Err())
	}
}

func (h *hasher) hash(ctx context.Context, p Secret) (string, error) {
	release, err := h.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	out, err := argon2id.CreateHash(p.text, h.params)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return out, nil
}

// matches compares; an empty hash (no such user, no password yet) takes the
// same time and never matches.
func (h *hasher) matches(ctx context.Context, p Secret, hash string) (bool, error) {
	release, err := h.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	known := hash != ""
	if !known {
		hash = h.dummy
	}
	ok, err := argon2id.ComparePasswordAndHash(p.text, hash)
	if err != nil {
		return false, fmt.Errorf("compare a password: %w", err)
	}
	return ok && known, nil
}

// ChangePassword sets a new password for who knows the current one, and ends
// the user's other logins. Live connections of all the user's credentials are
// told: what was opened under the old password does not outlive it.
func (a *Auth) ChangePassword(ctx context.Context, p Principal, current, next Secret, address Address) error {
	if err := CheckPassword(next); err != nil {
		return err
	}
	if err := a.limits.password(p.User.Name, address, a.now()); err != nil {
		return err
	}
	_, hash, err := a.store.Password(ctx, p.User.Name)
	if err != nil && !errors.Is(err, station.ErrNotFound) {
		return err
	}
	ok, err := a.hasher.matches(ctx, current, hash)
	if err != nil {
		return err
	}
	if !ok {
		return station.Errorf(station.ErrForbidden, "wrong_password", "The current password is not right; type it again.")
	}
	if hash, err = a.hasher.hash(ctx, next); err != nil {
		return err
	}
	if err := a.store.SetPassword(ctx, p.User.ID, hash, p.Credential.ID); err != nil {
		return err
	}
	a.limits.forgive(p.User.Name, address)
	a.revoked(Revocation{User: p.User.ID, Spare: p.Credential.ID})
	return nil
}
