package guest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/station"
	"staithe/internal/terminal"
	"staithe/internal/wire"
)

func splitList(h string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for p := range strings.SplitSeq(h, ",") {
			if !yield(strings.TrimSpace(p)) {
				return
			}
		}
	}
}

// handle does what a control message asks. An error is a breach of the
// protocol; what merely cannot be done is answered.
func (c *conn) handle(ctx context.Context, m wire.ClientMessage) error {
	c.mu.Lock()
	greeted := c.key != terminal.ClientKey{}
	c.mu.Unlock()
	if h, ok := m.(*wire.Hello); ok != !greeted {
		if greeted {
			return fmt.Errorf("%w: hello twice", wire.ErrProtocol)
		}
		return fmt.Errorf("%w: hello comes first", wire.ErrProtocol)
	} else if ok {
		c.hello(h)
		return nil
	}
	var err error
	var req wire.Req
	switch m := m.(type) {
	case *wire.Open:
		req, err = m.Req, c.open(ctx, m)
	case *wire.Attach:
		req, err = m.Req, c.attach(ctx, m)
	case *wire.Detach:
		err = c.detach(m.Channel)
	case *wire.Resize:
		err = c.onChannel(m.Channel, func(ch *channel) error { return ch.att.Resize(m.Cols, m.Rows) })
	case *wire.Ack:
		c.ack(m)
	case *wire.Drive:
		err = c.onChannel(m.Channel, func(ch *channel) error { return ch.att.Drive(lookOf(m.Look)) })
	case *wire.Rename:
		err = c.onTab(m.Tab, func(t *tab) error { return c.g.rename(c.id, t, m.Name) })
	case *wire.Close:
		err = c.onTab(m.Tab, func(t *tab) error { return c.g.close(c.id, t) })
	case *wire.Signal:
		err = c.signal(m)
	case *wire.List:
		c.say(&wire.Tabs{Req: m.Req, Tabs: c.tabs()})
	case *wire.Ping:
		c.say(&wire.Pong{T: m.T})
	case *wire.UnknownType:
		req = m.Req
		err = station.Errorf(station.ErrInvalid, "unknown_type", "This version does not know that message; update staithe or leave it out.")
	}
	if err != nil {
		c.sayError(req, err)
	}
	return nil
}

func (c *conn) sayError(req wire.Req, err error) {
	m := &wire.Error{Req: req, Code: "internal", Message: "The guest failed; try again."}
	var p *station.Problem
	if errors.As(err, &p) {
		m.Code, m.Message = p.Code, p.Sentence
		if len(m.Message) > maxSentence { // it quotes the client
			m.Message = strings.ToValidUTF8(m.Message[:maxSentence], "") + "…"
		}
	} else {
		c.g.opt.Log.Error("mux request", "error", err)
	}
	c.say(m)
}

// hello names the client. An earlier connection of the same client is fenced
// before anything else is said: not a byte of it is taken after.
func (c *conn) hello(m *wire.Hello) {
	key := terminal.ClientKey{Principal: c.id.User, Client: m.Client}
	c.g.mu.Lock()
	var old []*conn // one, or more where several come at once
	for o := range c.g.conns {
		o.mu.Lock()
		if o != c && o.key == key && !o.fenced {
			old = append(old, o)
		}
		o.mu.Unlock()
	}
	c.mu.Lock()
	c.key = key
	if name := inert(m.Name); name != "" {
		c.name = name
	}
	c.mu.Unlock()
	c.g.mu.Unlock()
	for _, o := range old {
		o.end(wire.CloseReplaced, "this client connected again elsewhere")
		o.leaveAll(false)
	}
	c.say(&wire.Welcome{
		Protocol: wire.Version, Session: string(c.g.opt.Config.Session),
		You:    wire.You{Client: c.public, User: c.id.Name, Name: c.name, Role: string(c.id.Role)},
		Window: terminal.Window, PingS: int(pingEvery / time.Second), Tabs: c.tabs(),
	})
}

func (c *conn) open(ctx context.Context, m *wire.Open) error {
	t, err := c.g.open(ctx, c.id, guestapi.TabCreate{
		Name: m.Name, Cols: m.Cols, Rows: m.Rows, Cwd: m.Cwd, Command: m.Command, Env: m.Env,
	})
	if err != nil {
		return err
	}
	return c.join(t, m.Req, terminal.Join{Cols: m.Cols, Rows: m.Rows, Fresh: true, Look: lookOf(m.Look)})
}

func (c *conn) attach(ctx context.Context, m *wire.Attach) error {
	t, err := c.g.find(c.id, m.Tab)
	if err != nil {
		return err
	}
	c.mu.Lock()
	attached := c.on(t)
	c.mu.Unlock()
	if attached {
		return station.Errorf(station.ErrConflict, "already_attached", "This connection is attached to that tab already; detach first.")
	}
	j := terminal.Join{
		Cols: m.Cols, Rows: m.Rows, Epoch: m.Epoch, Offset: m.Offset,
		Live: m.Live || !c.id.Role.Allows(station.RoleWriter), Scrollback: 1000,
	}
	j.Look = lookOf(m.Look)
	if m.Scrollback != nil {
		j.Scrollback = *m.Scrollback
	}
	if m.Restart {
		if j.Fresh, err = c.g.restart(ctx, c.id, t, m.Cols, m.Rows); err != nil {
			return err
		}
	}
	return c.join(t, m.Req, j)
}

// join attaches to the tab's terminal on a free channel and says so.
func (c *conn) join(t *tab, req wire.Req, j terminal.Join) error {
	j.Key, j.Public, j.User, j.Name, j.Role = c.key, c.public, c.id.Name, c.name, c.id.Role
	j.Notify = c.poke
	num, ok := c.freeChannel()
	if !ok {
		return station.Errorf(station.ErrLimited, "too_many_channels", "A connection carries at most %d terminals; detach from one first.", wire.MaxChannels)
	}
	term := t.terminal()
	att, joined := term.Attach(j)
	m := &wire.Attached{
		Req: req, Tab: string(t.id), Channel: num, Epoch: term.Epoch(), Offset: joined.Offset,
		Mode: wire.ModeSnapshot, SnapshotBytes: joined.SnapshotBytes,
		Cols: joined.Cols, Rows: joined.Rows, InputOffset: joined.InputOffset, Head: joined.Head,
	}
	if joined.Resumed {
		m.Mode = wire.ModeResume
	}
	// The writer sends answers before data, so attached goes first.
	c.say(m)
	c.mu.Lock()
	if c.fenced {
		c.mu.Unlock()
		att.Drop()
		return nil
	}
	c.channels[num] = &channel{num: num, tab: t, att: att, acked: joined.InputOffset}
	if !containsTab(c.presence, t) {
		c.presence = append(c.presence, t)
	}
	c.mu.Unlock()
	c.poke()
	return nil
}

func containsTab(tabs []*tab, t *tab) bool {
	for _, o := range tabs {
		if o == t {
			return true
		}
	}
	return false
}

// freeChannel finds the number that is free the longest, so that what a client
// typed before it saw a tab's exit reaches no other tab. Only the reader takes
// one.
func (c *conn) freeChannel() (uint8, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := 1; i <= wire.MaxChannels; i++ {
		n := uint8((int(c.last) + i) % wire.MaxChannels)
		if _, taken := c.channels[n]; !taken {
			c.last = n
			return n, true
		}
	}
	return 0, false
}

func (c *conn) channel(num uint8) *channel {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.channels[num]
}

// onChannel does something with a channel's attachment, or says there is none.
func (c *conn) onChannel(num uint8, do func(*channel) error) error {
	ch := c.channel(num)
	if ch == nil {
		return station.Errorf(station.ErrNotFound, "no_such_channel", "No terminal is attached on that channel; attach to a tab first.")
	}
	return do(ch)
}

func (c *conn) onTab(ref string, do func(*tab) error) error {
	t, err := c.g.find(c.id, ref)
	if err != nil {
		return err
	}
	return do(t)
}

func (c *conn) detach(num uint8) error {
	return c.onChannel(num, func(ch *channel) error {
		ch.att.Detach()
		c.mu.Lock()
		delete(c.channels, num)
		c.mu.Unlock()
		c.say(&wire.Detached{Channel: num})
		return nil
	})
}

// ack of a channel that has just ended is no error: the two crossed.
func (c *conn) ack(m *wire.Ack) {
	if ch := c.channel(m.Channel); ch != nil {
		ch.att.Ack(m.Offset, m.Snapshot)
	}
}

func (c *conn) signal(m *wire.Signal) error {
	return c.onChannel(m.Channel, func(ch *channel) error {
		if !c.id.Role.Allows(station.RoleWriter) {
			return station.Errorf(station.ErrForbidden, "forbidden", "You are watching; ask the session's owner to signal the program.")
		}
		err := ch.att.Signal(m.Signal)
		if errors.Is(err, terminal.ErrBadSignal) {
			return station.Errorf(station.ErrInvalid, "bad_signal", "Send one of INT, TERM, HUP, KILL, QUIT, TSTP, CONT.")
		}
		if err != nil {
			return station.Errorf(station.ErrConflict, "no_process", "No program is in the foreground to be signalled.").Because(err)
		}
		return nil
	})
}

// input types on a channel. Bytes for a channel that has just ended are
// dropped: nobody is there to read them.
func (c *conn) input(num uint8, p []byte) error {
	c.mu.Lock()
	greeted := c.key != terminal.ClientKey{}
	ch := c.channels[num]
	c.mu.Unlock()
	if !greeted {
		return fmt.Errorf("%w: hello comes first", wire.ErrProtocol)
	}
	if ch == nil || len(p) == 0 {
		return nil
	}
	err := ch.att.Input(p)
	if err == nil {
		return nil
	}
	now := time.Now()
	c.mu.Lock()
	tell := now.Sub(c.refusal) >= time.Second
	if tell {
		c.refusal = now
	}
	c.mu.Unlock()
	if tell {
		c.sayError(wire.Req{}, err)
	}
	return nil
}
