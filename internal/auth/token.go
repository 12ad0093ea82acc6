package auth

import (
	"context"
	"errors"
	"slices"
	"time"

	"staithe/internal/station"
)

// tokenPrefix lets people and secret scanners see what a string is.
const tokenPrefix = "staithe_"

const (
	maxTokenName = 64
	maxTokenLife = 10 * 365 * 24 * time.Hour
	maxTokens    = 100 // per user
	// touchEvery keeps "last used" from being a disk sync per request.
	touchEvery = time.Minute
)

// CreateToken makes an API token for p's user. A zero life never ends. The
// secret is shown once. A token can make no token that may do more than it, or
// for longer.
func (a *Auth) CreateToken(ctx context.Context, p Principal, name string, scopes []string, life time.Duration) (station.APIToken, Secret, error) {
	if err := checkToken(p, name, scopes, life); err != nil {
		return station.APIToken{}, Secret{}, err
	}
	have, err := a.store.Tokens(ctx, p.User.ID)
	if err != nil {
		return station.APIToken{}, Secret{}, err
	}
	if len(have) >= maxTokens {
		return station.APIToken{}, Secret{}, station.Errorf(station.ErrConflict, "too_many_tokens",
			"You have %d tokens, the most there can be; delete one first.", maxTokens)
	}
	now := a.stamp()
	t := station.APIToken{ID: station.NewID(), User: p.User.ID, Name: name, Scopes: scopes, CreatedAt: now}
	if life > 0 {
		expires := now.Add(life)
		t.ExpiresAt = &expires
	}
	if p.Credential.Kind == station.CredentialToken {
		parent, _, err := a.store.Token(ctx, p.Credential.ID)
		if err != nil {
			return station.APIToken{}, Secret{}, err
		}
		if parent.ExpiresAt != nil && (t.ExpiresAt == nil || t.ExpiresAt.After(*parent.ExpiresAt)) {
			return station.APIToken{}, Secret{}, station.Errorf(station.ErrForbidden, "token_outlives",
				"A token cannot make a token that outlives it; give a shorter expires_in, or sign in.")
		}
	}
	secret := mint(tokenPrefix)
	return t, secret, a.store.CreateToken(ctx, t, secret.hash())
}

func checkToken(p Principal, name string, scopes []string, life time.Duration) error {
	if len(name) > maxTokenName {
		return station.Errorf(station.ErrInvalid, "bad_token_name", "The token's name is too long: take at most %d bytes.", maxTokenName)
	}
	if life < 0 || life > maxTokenLife {
		return station.Errorf(station.ErrInvalid, "bad_expiry", "expires_in must be 1 to %d seconds, or left out for a token without end.", int(maxTokenLife/time.Second))
	}
	if len(scopes) == 0 {
		return badScope()
	}
	for _, s := range scopes {
		if !slices.Contains([]string{ScopeAll, ScopeSessions, ScopeTerminal, ScopeFiles}, s) {
			return badScope()
		}
		if !p.Can(s) {
			return station.Errorf(station.ErrForbidden, "insufficient_scope", "A token cannot make a token that may do more than itself.")
		}
	}
	return nil
}

func badScope() error {
	return station.Errorf(station.ErrInvalid, "bad_scope", `scopes must name one or more of "*" (all), "sessions", "terminal" and "files".`)
}

// CheckToken says whose API token a bearer is. The error wraps
// ErrUnauthenticated when it is nobody's.
func (a *Auth) CheckToken(ctx context.Context, bearer Secret) (Principal, error) {
	t, u, err := a.store.TokenByHash(ctx, bearer.hash())
	p, err := a.tokenPrincipal(t, u, err)
	if err != nil {
		return p, err
	}
	if now := a.now(); t.UsedAt == nil || now.Sub(*t.UsedAt) >= touchEvery {
		// On a full disk the person must get in to free some.
		if err := a.store.TouchToken(ctx, t.ID, now); err != nil {
			a.log.Warn("a token's use could not be noted", "token", t.ID, "err", err)
		}
	}
	return p, nil
}

func (a *Auth) tokenPrincipal(t station.APIToken, u station.User, err error) (Principal, error) {
	if errors.Is(err, station.ErrNotFound) {
		return Principal{}, errToken
	}
	if err != nil {
		return Principal{}, err
	}
	if u.Disabled || t.ExpiresAt != nil && !a.now().Before(*t.ExpiresAt) {
		return Principal{}, errToken
	}
	return Principal{User: u, Scopes: t.Scopes,
		Credential: station.Credential{Kind: station.CredentialToken, ID: t.ID, User: u.ID}}, nil
}

var errToken = station.Errorf(station.ErrUnauthenticated, "bad_token",
	"The API token is not good: it is unknown, out of time or revoked. Make a new one.")

// Tokens lists a user's API tokens, without their secrets.
func (a *Auth) Tokens(ctx context.Context, user station.ID) ([]station.APIToken, error) {
	return a.store.Tokens(ctx, user)
}

// DeleteToken revokes one of a user's API tokens.
func (a *Auth) DeleteToken(ctx context.Context, user, id station.ID) error {
	if err := a.store.DeleteToken(ctx, user, id); err != nil {
		return err
	}
	a.revoked(Revocation{User: user, Credential: id})
	return nil
}
