package guest

import (
	"context"
	"slices"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/terminal"
	"staithe/internal/wire"
)

// inputAckDelay gathers acknowledgements of typed input, so that they do not
// stand in the way of the echo.
const inputAckDelay = 10 * time.Millisecond

// newsEvery bounds how often a connection is told the list of tabs unasked: two
// people typing in turn change it with every key, and making it costs several
// system calls per tab.
const newsEvery = 100 * time.Millisecond

// write sends what there is until the connection ends: answers first, then
// output, the channel with the least waiting first, so that a flood on one does
// not delay a key's echo on another.
func (c *conn) write() {
	w := &writer{c: c, buf: make([]byte, 1+wire.MaxOutput), news: time.NewTimer(0)}
	defer w.news.Stop()
	ackTimer := time.NewTimer(time.Hour)
	defer ackTimer.Stop()
	ackSet := false
	for {
		sent, err := w.step()
		if err != nil {
			c.end(0, "")
			return
		}
		if sent {
			continue
		}
		if w.acksDue() && !ackSet {
			ackTimer.Reset(inputAckDelay)
			ackSet = true
		}
		select {
		case <-c.wake:
		case <-w.news.C:
		case <-ackTimer.C:
			ackSet = false
			if err := w.sendAcks(); err != nil {
				c.end(0, "")
				return
			}
		case <-c.ended:
			return
		}
	}
}

type writer struct {
	c    *conn
	buf  []byte
	list []*channel
	news *time.Timer // wakes the writer when news may be told again
	told time.Time   // when news was told last
}

// newsDue reports whether the list of tabs may be told now; if not, the writer
// comes back when it may.
func (w *writer) newsDue() bool {
	now := time.Now()
	if wait := w.told.Add(newsEvery).Sub(now); wait > 0 {
		w.news.Reset(wait)
		return false
	}
	w.told = now
	return true
}

func (w *writer) send(b []byte) error {
	return w.c.ws.Write(context.Background(), websocket.MessageBinary, b)
}

func (w *writer) say(m wire.ServerMessage) error { return w.send(wire.AppendServer(nil, m)) }

// step sends all answers and news that wait and at most one frame of output;
// sent is false when there was nothing.
func (w *writer) step() (sent bool, err error) {
	c := w.c
	c.mu.Lock()
	control, tabsNews, presence := c.control, c.tabsNews, c.presence
	greeted := c.key != terminal.ClientKey{}
	c.control, c.waiting = nil, 0
	if tabsNews = tabsNews && greeted && w.newsDue(); tabsNews {
		c.tabsNews = false
	}
	if greeted {
		c.presence = nil
	}
	w.list = w.list[:0]
	for _, ch := range c.channels {
		w.list = append(w.list, ch)
	}
	c.mu.Unlock()

	select {
	case c.drain <- struct{}{}:
	default:
	}
	for _, b := range control {
		if err := w.send(b); err != nil {
			return false, err
		}
	}
	if tabsNews {
		if err := w.say(&wire.Tabs{Tabs: c.tabs()}); err != nil {
			return false, err
		}
	}
	if greeted {
		for _, t := range presence {
			if err := w.say(presenceOf(t)); err != nil {
				return false, err
			}
		}
	}
	out, err := w.output()
	return out || len(control) > 0, err
}

// output sends the next frame or event of the channel with the least waiting.
func (w *writer) output() (bool, error) {
	if len(w.list) > 1 {
		pending := make(map[*channel]int64, len(w.list))
		for _, ch := range w.list {
			pending[ch] = ch.att.Pending()
		}
		slices.SortFunc(w.list, func(a, b *channel) int {
			if d := pending[a] - pending[b]; d != 0 {
				return int(min(max(d, -1), 1))
			}
			return int(a.num) - int(b.num)
		})
	}
	for _, ch := range w.list {
		it := ch.att.Next(w.buf[1:])
		if it == (terminal.Item{}) {
			continue
		}
		return true, w.deliver(ch, it)
	}
	return false, nil
}

func (w *writer) deliver(ch *channel, it terminal.Item) error {
	switch {
	case it.N > 0:
		w.buf[0] = ch.num
		return w.send(w.buf[:1+it.N])
	case it.Size != nil:
		return w.say(&wire.Size{Channel: ch.num, Cols: it.Size.Cols, Rows: it.Size.Rows, Offset: it.Size.Offset})
	case it.Resync != nil:
		return w.say(&wire.Resync{Channel: ch.num, Offset: it.Resync.Offset, SnapshotBytes: it.Resync.SnapshotBytes, Why: it.Resync.Why})
	case it.Exit != nil:
		// The channel is free after exit, so what was typed is settled first.
		if err := w.sendAck(ch); err != nil {
			return err
		}
		num := ch.num
		c := w.c
		ch.att.Detach()
		c.mu.Lock()
		if c.channels[num] == ch { // else the client has detached meanwhile
			delete(c.channels, num)
		}
		c.mu.Unlock()
		return w.say(&wire.Exit{Tab: string(ch.tab.id), Channel: &num, Code: it.Exit.Code, Signal: it.Exit.Signal, Offset: it.Exit.Offset})
	}
	return nil
}

// acksDue reports whether some typed input is written and not yet acknowledged.
func (w *writer) acksDue() bool {
	for _, ch := range w.list {
		if ch.att.Written() > ch.acked {
			return true
		}
	}
	return false
}

func (w *writer) sendAcks() error {
	for _, ch := range w.list {
		if err := w.sendAck(ch); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) sendAck(ch *channel) error {
	n := ch.att.Written()
	if n <= ch.acked {
		return nil
	}
	ch.acked = n
	return w.say(&wire.InputAck{Channel: ch.num, Offset: n})
}
