package auth

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/alexedwards/argon2id"

	"staithe/internal/station"
)

// Store is what auth keeps; internal/store is one. ErrNotFound, ErrConflict and
// ErrGone are wrapped as station says.
type Store interface {
	HasAdmin(context.Context) (bool, error)
	CreateFirstAdmin(ctx context.Context, link [32]byte, now time.Time, u station.User, passwordHash string) error

	CreateUser(ctx context.Context, u station.User, passwordHash string) error
	CreateInvited(ctx context.Context, u station.User, link [32]byte, expires time.Time) error
	User(context.Context, station.ID) (station.User, error)
	UserByRef(ctx context.Context, ref string) (station.User, error)
	Users(context.Context) ([]station.User, error)
	Password(ctx context.Context, name string) (station.User, string, error)
	SetPassword(ctx context.Context, user station.ID, passwordHash string, keep station.ID) error
	SetUserFlags(ctx context.Context, id station.ID, disabled, admin *bool) (station.User, error)
	DeleteUser(context.Context, station.ID) error

	CreateLogin(ctx context.Context, l station.Login, hash [32]byte) error
	LoginByHash(ctx context.Context, hash [32]byte) (station.Login, station.User, error)
	Login(context.Context, station.ID) (station.Login, station.User, error)
	DeleteLogin(context.Context, station.ID) error
	RememberDevice(ctx context.Context, hash [32]byte, user station.ID, now time.Time) error
	KnownDevice(ctx context.Context, hash [32]byte, user station.ID) (bool, error)

	CreateToken(ctx context.Context, t station.APIToken, hash [32]byte) error
	TokenByHash(ctx context.Context, hash [32]byte) (station.APIToken, station.User, error)
	Token(context.Context, station.ID) (station.APIToken, station.User, error)
	Tokens(ctx context.Context, user station.ID) ([]station.APIToken, error)
	DeleteToken(ctx context.Context, user, id station.ID) error
	TouchToken(ctx context.Context, id station.ID, now time.Time) error

	CreateLink(ctx context.Context, kind string, hash [32]byte, user station.ID, expires *time.Time) error
	LinkGood(ctx context.Context, hash [32]byte, now time.Time, kinds ...string) error
	SpendPasswordLink(ctx context.Context, hash [32]byte, now time.Time, passwordHash string) (station.User, string, error)

	CreateTicket(ctx context.Context, t station.Ticket, hash [32]byte) error
	SpendTicket(ctx context.Context, hash [32]byte, now time.Time) (station.Ticket, error)
}

// Options is what New takes; only Store and Log must be given.
type Options struct {
	Store Store
	Log   *slog.Logger
	Now   func() time.Time // default time.Now
	// Argon2 is how hard passwords are hashed; default 64 MiB, 2 passes, 2
	// lanes (RFC 9106 section 4 with less memory, for small hosts).
	Argon2 *argon2id.Params
}

// Auth is the one judge of identity. Safe for concurrent use.
type Auth struct {
	store  Store
	log    *slog.Logger
	now    func() time.Time
	hasher *hasher
	limits *limits

	mu       sync.RWMutex
	onRevoke []func(Revocation) // guarded by mu
}

// New makes an Auth. It hashes one password, which takes a moment.
func New(o Options) (*Auth, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Argon2 == nil {
		o.Argon2 = &argon2id.Params{Memory: 64 << 10, Iterations: 2, Parallelism: 2, SaltLength: 16, KeyLength: 32}
	}
	h, err := newHasher(o.Argon2)
	if err != nil {
		return nil, err
	}
	return &Auth{store: o.Store, log: o.Log, now: o.Now, hasher: h, limits: newLimits(maxKeys)}, nil
}

// stamp is now as the store keeps it, so that an answer and a later look agree.
func (a *Auth) stamp() time.Time { return a.now().UTC().Truncate(time.Microsecond) }

// ScopeAll is the API token scope that allows everything its user may do.
const ScopeAll = "*"

// The narrower scopes of API tokens. Whatever needs none of them needs "*".
const (
	ScopeSessions = "sessions" // list, make, rename, delete, wake and put to sleep sessions
	ScopeTerminal = "terminal" // see sessions; open terminals: tabs, terminal tickets, the mux
	ScopeFiles    = "files"    // all that can be done with the files of the home, and see sessions
)

// Principal is who a request is from, and by what right.
type Principal struct {
	User       station.User
	Credential station.Credential
	Scopes     []string
}

// Can reports whether the credential covers any of the scopes; "*" covers all.
func (p Principal) Can(scopes ...string) bool {
	for _, have := range p.Scopes {
		if have == ScopeAll {
			return true
		}
		for _, want := range scopes {
			if have == want {
				return true
			}
		}
	}
	return false
}

// Revocation says that rights of a user have ended.
type Revocation struct {
	User       station.ID
	Credential station.ID // the one that ended; empty: all of the user's
	Spare      station.ID // a credential that is still good although all ended
}

// Touches reports whether c belongs to what ended or, spared, to its user.
func (r Revocation) Touches(c station.Credential) bool {
	return c.User == r.User && (r.Credential == "" || r.Credential == c.ID)
}

// OnRevoke has fn called, synchronously and after the fact is stored, whenever
// this process ends a right. fn must not block. Other processes' revocations
// are found by asking Valid.
func (a *Auth) OnRevoke(fn func(Revocation)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.onRevoke = append(a.onRevoke, fn)
}

func (a *Auth) revoked(r Revocation) {
	a.mu.RLock()
	fns := a.onRevoke
	a.mu.RUnlock()
	for _, fn := range fns {
		fn(r)
	}
}

// Valid says whether a credential is still good: it exists, is in time, and its
// user is enabled. The error wraps station.ErrUnauthenticated when it is not;
// any other error says nothing about the credential.
func (a *Auth) Valid(ctx context.Context, c station.Credential) error {
	switch c.Kind {
	case station.CredentialLogin:
		l, u, err := a.store.Login(ctx, c.ID)
		_, err = a.loginPrincipal(l, u, err)
		return err
	case station.CredentialToken:
		t, u, err := a.store.Token(ctx, c.ID)
		_, err = a.tokenPrincipal(t, u, err)
		return err
	}
	return errSignIn
}

var errSignIn = station.Errorf(station.ErrUnauthenticated, "sign_in", "Sign in first: your login is missing, has ended or was revoked.")
