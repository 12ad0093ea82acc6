package gateway

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/station"
	"staithe/internal/wire"
)

// relay passes whole messages between one client and one guest, unread. A key
// and its echo go through here: one goroutine per direction reads a message
// into its buffer and writes it, with nothing in between and nothing allocated.
// Backpressure passes through by not reading.
type relay struct {
	g      *Gateway
	live   *live
	client *websocket.Conn
	guest  *websocket.Conn
	raw    *watchedConn // under client; nil under a foreign server
	user   station.ID
}

// buffers hold one message and the byte that shows that it is too large.
var buffers = sync.Pool{New: func() any { return new([wire.MaxMessage + 1]byte) }}

// run relays until either side or the gateway ends it, closes both and waits
// for its goroutines. ctx is only read, never waited on: a canceled read would
// close the connection without a word.
func (r *relay) run(ctx context.Context) {
	r.client.SetReadLimit(-1)
	var wg sync.WaitGroup
	wg.Go(func() { r.live.end(r.fromClient()) })
	wg.Go(func() { r.live.end(r.fromGuest()) })
	r.watch(&wg)
	why := r.live.why

	// The guest's leg first: from here on not a byte of the client's counts.
	if why.by == byClient && why.said {
		// Leaving on purpose is told apart from a lost link: the guest does
		// not hold output back for the return of who left.
		wg.Go(func() { r.guest.Close(why.code, why.reason) })
	} else {
		r.guest.CloseNow()
	}
	closeClient(r.client, r.raw, why, r.g.timing.force)
	wg.Wait()
	r.g.log.Debug("relay ended", "request", requestOf(ctx).id, "session", r.live.session, "code", int(why.code), "by", int(why.by))
}

// watch pings a client that has been silent for a while, until the connection
// ends; the guest's own pings end at the gateway. One that stays silent for
// three pings is gone.
func (r *relay) watch(wg *sync.WaitGroup) {
	tick := time.NewTicker(r.g.timing.ping)
	defer tick.Stop()
	for {
		select {
		case <-r.live.ended:
			return
		case <-tick.C:
		}
		if r.raw == nil {
			continue
		}
		silent := r.raw.silent()
		if silent >= r.g.timing.dead {
			r.live.end(ending{code: wire.CloseGoingAway, reason: "no answer to pings", by: byClient})
			r.raw.Close()
			return
		}
		// A ping that cannot be written within the library's 5 s takes the
		// connection with it: none is sent behind a blocked write, nor to a
		// client that shows by itself that it lives.
		if silent >= r.g.timing.ping/2 && !r.raw.writing.Load() {
			wg.Go(r.ping)
		}
	}
}

// ping sends one ping; whether anything comes back shows in raw.silent.
func (r *relay) ping() {
	ctx, cancel := context.WithTimeout(context.Background(), r.g.timing.dead)
	defer cancel()
	if err := r.client.Ping(ctx); err != nil {
		r.g.log.Debug("no pong", "session", r.live.session, "err", err)
	}
}

// fromClient carries what the client sends. A message that is too large goes on
// cut to one byte too many, so that the guest itself refuses it with 4400.
func (r *relay) fromClient() ending {
	buf := buffers.Get().(*[wire.MaxMessage + 1]byte)
	defer buffers.Put(buf)
	for {
		typ, n, err := readMessage(r.client, buf[:])
		if err != nil {
			return closedBy(err, byClient)
		}
		if err := r.guest.Write(context.Background(), typ, buf[:n]); err != nil {
			return r.g.gone(r.user, r.live.session)
		}
	}
}

// fromGuest carries what the guest sends. A guest that breaks the protocol is
// not passed on.
func (r *relay) fromGuest() ending {
	buf := buffers.Get().(*[wire.MaxMessage + 1]byte)
	defer buffers.Put(buf)
	for {
		typ, n, err := readMessage(r.guest, buf[:])
		if err != nil {
			return r.guestEnding(err)
		}
		if n > wire.MaxMessage || n == 0 || typ != websocket.MessageBinary {
			return ending{code: wire.CloseProtocol, reason: "the session's guest broke the protocol; put the session to sleep and wake it", by: byGuest}
		}
		if err := r.client.Write(context.Background(), typ, buf[:n]); err != nil {
			return closedBy(err, byClient)
		}
	}
}

// readMessage reads one message into buf. Of a larger one the rest is read and
// dropped, so that the stream stays in step.
func readMessage(c *websocket.Conn, buf []byte) (websocket.MessageType, int, error) {
	typ, rd, err := c.Reader(context.Background())
	if err != nil {
		return 0, 0, err
	}
	n := 0
	for n < len(buf) {
		m, err := rd.Read(buf[n:])
		n += m
		if err == io.EOF {
			return typ, n, nil
		}
		if err != nil {
			return 0, 0, err
		}
	}
	var rest [512]byte
	for {
		if _, err := rd.Read(rest[:]); err == io.EOF {
			return typ, n, nil
		} else if err != nil {
			return 0, 0, err
		}
	}
}

// closedBy is the ending that a failed read or write of the client's leg means.
func closedBy(err error, by party) ending {
	if ce, ok := errors.AsType[websocket.CloseError](err); ok && ce.Code != websocket.StatusNoStatusRcvd {
		return ending{ce.Code, clip(plain(ce.Reason), maxReason), by, true}
	}
	if websocket.CloseStatus(err) == websocket.StatusNoStatusRcvd {
		// Answered as RFC 6455 section 7.1.5 has it, but nobody said that they
		// will not come back: to the guest it is a lost link.
		return ending{code: wire.CloseNormal, by: by}
	}
	return ending{code: wire.CloseGoingAway, reason: "the connection was lost", by: by}
}

// maxReason is RFC 6455 section 5.5's 125 bytes without the code.
const maxReason = 123

// guestCodes are the closes that are a guest's to say. A lying guest cannot
// sign a person out (4401) or say that a session is gone (4410).
var guestCodes = map[websocket.StatusCode]bool{
	wire.CloseNormal: true, wire.CloseProtocol: true, wire.CloseForbidden: true, wire.CloseNotFound: true,
	wire.CloseNoHello: true, wire.CloseReplaced: true, wire.CloseLimited: true,
}

// guestEnding passes a guest's close on as far as it may say it.
func (r *relay) guestEnding(err error) ending {
	if e := closedBy(err, byGuest); guestCodes[e.code] {
		return e
	}
	return r.g.gone(r.user, r.live.session)
}
