package gateway

import (
	"context"
	"net/http"
	"strings"
	"time"

	"staithe/internal/auth"
	"staithe/internal/station"
)

// The cookies. On https they have the __Host- prefix: no sibling subdomain and
// no plain-http answer can set or overwrite them.
const (
	loginCookie  = "staithe"
	deviceCookie = "staithe-device" // remembers the browser for the rate limits; no right by itself
	hostPrefix   = "__Host-"
)

// deviceLife is how long a browser is remembered.
const deviceLife = 365 * 24 * time.Hour

func cookieName(own origin, name string) string {
	if own.scheme == "https" {
		return hostPrefix + name
	}
	return name
}

// readCredentials takes the cookies and the bearer out of the headers once.
func (req *request) readCredentials(r *http.Request) {
	req.cookies = map[string]auth.Secret{}
	for _, c := range r.Cookies() {
		for _, name := range []string{loginCookie, deviceCookie} {
			if c.Name == cookieName(req.own, name) && c.Value != "" {
				req.cookies[name] = auth.NewSecret(c.Value)
			}
		}
	}
	if _, ok := r.Header["Authorization"]; ok {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			token = ""
		}
		bearer := auth.NewSecret(strings.TrimSpace(token))
		req.bearer = &bearer
	}
}

// browser is what the request brings to a sign-in.
func (req *request) browser() auth.Browser {
	return auth.Browser{Address: req.address, Device: req.cookies[deviceCookie], Previous: req.cookies[loginCookie]}
}

// cookie renders a Set-Cookie value; an empty secret takes the cookie away.
func (req *request) cookie(name string, value auth.Secret, expires time.Time) string {
	c := http.Cookie{Name: cookieName(req.own, name), Value: value.Reveal(), Path: "/", HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Secure: req.own.scheme == "https"}
	if value.Empty() {
		c.MaxAge = -1
	} else {
		c.MaxAge = int(time.Until(expires).Seconds())
	}
	return c.String()
}

// signedIn is the cookies of a fresh login.
func (req *request) signedIn(in auth.SignIn) []string {
	return []string{req.cookie(loginCookie, in.Cookie, in.ExpiresAt), req.cookie(deviceCookie, in.Device, time.Now().Add(deviceLife))}
}

// identify says who sent a request. A bearer is taken alone: a wrong one is not
// made good by a cookie.
func (g *Gateway) identify(ctx context.Context) (auth.Principal, error) {
	req := requestOf(ctx)
	var p auth.Principal
	var err error
	if req.bearer != nil {
		p, err = g.auth.CheckToken(ctx, *req.bearer)
	} else {
		p, err = g.auth.CheckLogin(ctx, req.cookies[loginCookie])
	}
	if err == nil {
		req.user = p.User.ID
	}
	return p, err
}

// access says who may do an operation.
type access struct {
	public bool     // anybody
	scopes []string // a token needs one of them or "*"
	admin  bool     // admins only
	hidden bool     // to others it is not there: 404 and not 403
}

var (
	anyone    = access{public: true}
	everyUse  = access{scopes: []string{auth.ScopeSessions, auth.ScopeTerminal, auth.ScopeFiles}} // any token may
	sessions  = access{scopes: []string{auth.ScopeSessions}}
	terminal  = access{scopes: []string{auth.ScopeTerminal}}
	homeFiles = access{scopes: []string{auth.ScopeFiles}}
	whole     = access{} // a login, or a token with "*"
	admins    = access{admin: true}
	adminsOf  = access{admin: true, hidden: true} // another user's account
)

// authorize identifies and checks.
func (g *Gateway) authorize(ctx context.Context, may access) (auth.Principal, error) {
	if may.public {
		return auth.Principal{}, nil
	}
	p, err := g.identify(ctx)
	switch {
	case err != nil:
		return p, err
	case may.admin && !p.User.Admin && may.hidden:
		return p, station.Errorf(station.ErrNotFound, "no_user", "There is no such user; see the list of users for the right name.")
	case may.admin && !p.User.Admin:
		return p, station.Errorf(station.ErrForbidden, "admin_only", "Only an administrator may do this.")
	case !p.Can(may.scopes...):
		return p, auth.ErrScope
	}
	return p, nil
}
