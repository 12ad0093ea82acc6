package muxtest

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/wire"
)

// rawPatience is how long Raw waits for the other side.
const rawPatience = 20 * time.Second

// Raw is a mux connection with nothing on top, for saying what no client would.
type Raw struct {
	T  testing.TB
	WS *websocket.Conn
}

// NewRaw takes a connection over; it is closed at the test's end.
func NewRaw(t testing.TB, ws *websocket.Conn) *Raw {
	t.Cleanup(func() { ws.CloseNow() })
	return &Raw{t, ws}
}

// Say sends a control message.
func (r *Raw) Say(m wire.ClientMessage) {
	r.T.Helper()
	r.Send(wire.AppendClient(nil, m))
}

// Send sends a message as it is.
func (r *Raw) Send(b []byte) {
	r.T.Helper()
	if err := r.WS.Write(r.T.Context(), websocket.MessageBinary, b); err != nil {
		r.T.Fatal(err)
	}
}

// Next returns the next control message of a type, skipping all else.
func (r *Raw) Next(typ string) wire.ServerMessage {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(r.T.Context(), rawPatience)
	defer cancel()
	for {
		_, b, err := r.WS.Read(ctx)
		if err != nil {
			r.T.Fatalf("waiting for %s: %v", typ, err)
		}
		if b[0] == wire.ControlChannel && bytes.HasPrefix(b[1:], []byte(`{"type":"`+typ+`"`)) {
			m, err := wire.ParseServer(b[1:])
			if err != nil {
				r.T.Fatal(err)
			}
			return m
		}
	}
}

// CloseCode reads until the connection ends, for at most within, and returns
// the close code; -1 when there was none.
func (r *Raw) CloseCode(within time.Duration) websocket.StatusCode {
	ctx, cancel := context.WithTimeout(r.T.Context(), within)
	defer cancel()
	for {
		if _, _, err := r.WS.Read(ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}
