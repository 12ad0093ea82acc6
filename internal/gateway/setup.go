package gateway

import (
	"context"
	"errors"
	"time"

	"staithe/internal/auth"
	"staithe/internal/station"
)

type setupInput struct {
	Body struct {
		Token    string `json:"token" maxLength:"200"`
		Username string `json:"username" maxLength:"200"`
		Password string `json:"password"`
	}
}

// Newcomer is a user who has just come in: the account is there in any case,
// Session or Problem says how its first session fares.
type Newcomer struct {
	station.User
	Session *station.Session `json:"session,omitempty"`
	Problem *problem         `json:"problem,omitempty" doc:"Why there is no session yet"`
}

type newcomerOutput struct {
	Cookies []string `header:"Set-Cookie"`
	Body    Newcomer
}

// setup makes the first admin, signs the browser in and starts session main.
func (g *Gateway) setup(ctx context.Context, c caller, in *setupInput) (*newcomerOutput, error) {
	login, err := g.auth.Setup(ctx, auth.NewSecret(in.Body.Token), in.Body.Username, auth.NewSecret(in.Body.Password), c.browser())
	if err != nil {
		return nil, err
	}
	return &newcomerOutput{c.signedIn(login), g.welcome(ctx, login.User)}, nil
}

// welcomeLimit is how long a first session may take to start.
const welcomeLimit = time.Minute

// welcome gives a new user a home and the session main. A sandbox that does not
// start is not a reason to have no account: the answer says what is wrong, and
// waking the session tries again. A browser that leaves does not stop it.
func (g *Gateway) welcome(ctx context.Context, u station.User) Newcomer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), welcomeLimit)
	defer cancel()
	if err := g.fleet.CreateHome(ctx, u.ID); err != nil {
		return Newcomer{User: u, Problem: g.toProblem(ctx, err)}
	}
	s, err := g.fleet.Create(ctx, u.ID, station.DefaultSession, "")
	if err == nil {
		return Newcomer{User: u, Session: &s}
	}
	n := Newcomer{User: u, Problem: g.toProblem(ctx, err)}
	// It may be there all the same, failed, or from before.
	s, err = g.fleet.Get(ctx, u.ID, station.DefaultSession)
	if err == nil {
		n.Session = &s
	} else if !errors.Is(err, station.ErrNotFound) {
		g.log.Warn("a new user's session cannot be seen", "user", u.ID, "err", err)
	}
	return n
}

type setupState struct {
	Needed bool `json:"needed" doc:"There is no admin yet; the setup link is on the server's standard output"`
}

// setupNeeded says whether there is an admin, and nothing else.
func (g *Gateway) setupNeeded(ctx context.Context, _ caller, _ *nothing) (*output[setupState], error) {
	needed, err := g.auth.SetupNeeded(ctx)
	return answer(setupState{needed}, err)
}
