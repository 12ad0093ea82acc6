package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/sandbox"
	"staithe/internal/station"
)

const (
	// healthLimit bounds the wait for a fresh guest: its socket queues us, so
	// the answer comes as soon as it accepts.
	healthLimit = 10 * time.Second
	// adoptLimit bounds the wait for a guest that has been up for long.
	adoptLimit = 3 * time.Second
)

// errForeign is a guest that obeys another gateway's key.
var errForeign = station.Errorf(station.ErrUnavailable, "foreign_guest",
	"The session's guest was started with another server key; put the session to sleep and wake it.")

func (f *Fleet) dialer(session station.ID) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return f.runtime.Dial(ctx, session) }
}

// spec is the sandbox a session gets.
func (f *Fleet) spec(ctx context.Context, s station.Session) (sandbox.Spec, error) {
	user, err := f.enabled(ctx, s.User)
	if err != nil {
		return sandbox.Spec{}, err
	}
	class, err := f.classOf(s)
	if err != nil {
		return sandbox.Spec{}, err
	}
	ws, err := f.store.Workstation(ctx, s.User)
	if err != nil {
		return sandbox.Spec{}, fmt.Errorf("the session's workstation: %w", err)
	}
	config, err := json.Marshal(f.guestConfig(s, user))
	if err != nil {
		return sandbox.Spec{}, fmt.Errorf("encode guest config: %w", err)
	}
	spec := sandbox.Spec{
		Session: s.ID, Hostname: s.Name, UserName: user.Name, Home: f.volumes.Path(ws),
		UIDRange: ws.UIDRange, Guest: f.guest, Config: string(config),
		Runtime: class.Runtime, Sudo: class.Sudo, Limits: class.Limits,
	}
	err = f.attach(&spec, class)
	return spec, err
}

func (f *Fleet) guestConfig(s station.Session, user station.User) guestapi.Config {
	home := homeInside(user)
	return guestapi.Config{
		Session: s.ID, Name: s.Name, PublicKey: f.signer.PublicKey(),
		User: user.Name, UID: station.SandboxUID, GID: station.SandboxUID, Home: home, Shell: "/bin/bash",
		Env: []string{
			"TERM=xterm-256color", "COLORTERM=truecolor", "LANG=C.UTF-8",
			"PATH=" + home + "/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/staithe/bin",
			"USER=" + user.Name, "LOGNAME=" + user.Name, "HOME=" + home, "SHELL=/bin/bash",
			fmt.Sprintf("XDG_RUNTIME_DIR=/run/user/%d", station.SandboxUID),
			// Said outright, so that an image's own values lead no program out of the home.
			"XDG_CONFIG_HOME=" + home + "/.config", "XDG_DATA_HOME=" + home + "/.local/share",
			"XDG_STATE_HOME=" + home + "/.local/state", "XDG_CACHE_HOME=" + home + "/.cache",
			"STAITHE_SESSION=" + string(s.ID),
		},
	}
}

// boot starts a session's sandbox and waits for its guest. On an error the
// sandbox is gone, unless it ran before and its guest did not answer: a living
// one is the person's to end.
func (f *Fleet) boot(ctx context.Context, s station.Session) error {
	spec, err := f.spec(ctx, s)
	if err != nil {
		return err
	}
	before, err := f.running(ctx, s.ID)
	if err != nil && !errors.Is(err, sandbox.ErrUnknown) { // then its own runtime's Start says more
		return err
	}
	if before {
		if err := f.answers(ctx, s, adoptLimit); err == nil || !f.dies(ctx, s.ID) {
			return err
		}
	}
	if err := f.limitHome(ctx, s.User); err != nil {
		return err
	}
	f.mu.Lock()
	w := f.watch(s.ID)
	w.forget()
	w.usage, w.measured = sandbox.Usage{}, true // it has used nothing yet
	f.mu.Unlock()
	attached := beside(ctx, &spec)
	err = f.startOn(ctx, s, spec)
	if err == nil {
		err = f.answers(ctx, s, healthLimit)
	}
	if e := attached(); e != nil && err == nil {
		err = e
	}
	if err != nil {
		if e := f.dismantle(context.WithoutCancel(ctx), s.ID); e != nil {
			return fmt.Errorf("%w; and its sandbox: %w", err, e)
		}
		return err
	}
	return nil
}

// startOn starts a sandbox on its class's base, which stays where it is until
// the sandbox stands on it.
func (f *Fleet) startOn(ctx context.Context, s station.Session, spec sandbox.Spec) error {
	class, err := f.classOf(s)
	if err != nil {
		return err
	}
	base, release, err := f.base(class)
	if err != nil {
		return err
	}
	defer release()
	spec.Base = base
	return f.runtime.Start(ctx, spec)
}

// answers says whether the session's guest lives, is that session's and obeys
// our key.
func (f *Fleet) answers(ctx context.Context, s station.Session, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := f.client(s.ID)
	if _, err := c.Health(ctx); err != nil {
		return err
	}
	// Health is answered to anyone; this only to our signature.
	_, err := c.Tabs(ctx, server(s, station.RoleViewer))
	if errors.Is(err, station.ErrUnauthenticated) {
		return errForeign.Because(err)
	}
	return err
}

// server is how this server presents itself to a session's guest.
func server(s station.Session, role station.Role) guestapi.Identity {
	return guestapi.Identity{User: s.User, Name: "staithe", Role: role}
}

// running says whether a session has a live sandbox now.
func (f *Fleet) running(ctx context.Context, id station.ID) (bool, error) {
	info, _, err := f.runtime.Find(ctx, id)
	if err != nil {
		return false, fmt.Errorf("look for the sandbox: %w", err)
	}
	return info.Running, nil
}
