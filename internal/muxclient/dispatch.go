package muxclient

import (
	"slices"

	"staithe/internal/station"
	"staithe/internal/wire"
)

// control is called by the reader for each control message after welcome.
func (c *Client) control(l *link, m wire.ServerMessage) {
	switch m := m.(type) {
	case *wire.Attached:
		c.mu.Lock()
		s := l.expected[m.Req.String()]
		delete(l.expected, m.Req.String())
		over := s != nil && s.finished()
		if s != nil && !over {
			l.channels[m.Channel] = s
			c.remember(s)
		}
		c.mu.Unlock()
		switch {
		case over: // whoever asked has given up; a failed write is the reader's to see
			l.say(&wire.Detach{Channel: m.Channel})
		case s != nil:
			s.attached(l, m)
		}
		c.answer(m.Req, m)
	case *wire.Error:
		c.mu.Lock()
		s := l.expected[m.Req.String()]
		delete(l.expected, m.Req.String())
		c.mu.Unlock()
		if !c.answer(m.Req, m) && s != nil {
			s.finish(station.Errorf(station.ErrGone, m.Code, "%s", m.Message)) // its tab is gone
		}
	case *wire.Tabs:
		if !c.answer(m.Req, m) && c.opt.Tabs != nil {
			c.opt.Tabs(m.Tabs)
		}
	case *wire.Pong:
		select {
		case l.pong <- struct{}{}:
		default:
		}
	default:
		c.onStream(l, m)
	}
}

// remember lists a stream for rejoining and forgets those that are done; the
// caller holds c.mu.
func (c *Client) remember(s *Stream) {
	keep := slices.DeleteFunc(slices.Clone(c.streams), func(o *Stream) bool { return o == s || o.finished() })
	c.streams = append(keep, s)
}

func (c *Client) answer(req wire.Req, m wire.ServerMessage) bool {
	c.mu.Lock()
	ch := c.calls[req.String()]
	delete(c.calls, req.String())
	c.mu.Unlock()
	if ch == nil {
		return false
	}
	ch <- m
	return true
}

func (c *Client) streamOn(l *link, num uint8) *Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return l.channels[num]
}

// onStream handles what concerns one channel.
func (c *Client) onStream(l *link, m wire.ServerMessage) {
	switch m := m.(type) {
	case *wire.InputAck:
		if s := c.streamOn(l, m.Channel); s != nil {
			s.mu.Lock()
			s.settle(m.Offset)
			s.mu.Unlock()
			s.flush()
		}
	case *wire.Size:
		if s := c.streamOn(l, m.Channel); s != nil {
			s.sink.Size(m.Cols, m.Rows)
		}
	case *wire.Resync:
		if s := c.streamOn(l, m.Channel); s != nil {
			s.mu.Lock()
			s.snapshot, s.drawn, s.snapAcked = m.SnapshotBytes, 0, 0
			s.offset, s.acked = m.Offset, m.Offset
			s.mu.Unlock()
			s.sink.Reset(m.SnapshotBytes)
		}
	case *wire.Presence:
		c.presence(l, m)
	case *wire.Detached:
		c.mu.Lock()
		delete(l.channels, m.Channel)
		c.mu.Unlock()
	case *wire.Exit:
		if m.Channel == nil {
			return
		}
		s := c.streamOn(l, *m.Channel)
		c.mu.Lock()
		delete(l.channels, *m.Channel)
		c.mu.Unlock()
		if s != nil {
			s.sink.Exit(*m)
			s.finish(errExited)
		}
	}
}

// presence notes on which streams this client drives.
func (c *Client) presence(l *link, m *wire.Presence) {
	driver := false
	c.mu.Lock()
	me := c.welcome.You.Client
	var streams []*Stream
	for _, s := range l.channels {
		streams = append(streams, s)
	}
	c.mu.Unlock()
	for _, p := range m.Clients {
		driver = driver || p.Driver && p.Client == me
	}
	for _, s := range streams {
		s.mu.Lock()
		if s.tab == m.Tab {
			s.driver = driver
		}
		s.mu.Unlock()
	}
}
