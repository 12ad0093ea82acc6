package guestapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"staithe/internal/station"
)

// A connection that is dropped before an answer is tried once more, where asking
// twice does no harm.
func TestADroppedQuestionIsAskedAgain(t *testing.T) {
	signer, err := NewSigner(NewSeed())
	if err != nil {
		t.Fatal(err)
	}
	for drops, want := range map[int]struct {
		get   bool
		post  bool
		dials int32
	}{0: {true, true, 1}, 1: {true, false, 2}, 2: {false, false, 2}} {
		var dials atomic.Int32
		dial := func(context.Context) (net.Conn, error) {
			n := int(dials.Add(1))
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				if _, err := theirs.Read(make([]byte, 4096)); err == nil && n > drops {
					_, _ = io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{\"session\":\"abcdefghijkl\"}") // who asked sees what is missing
				}
			}()
			return ours, nil
		}
		c := NewClient("abcdefghijkl", signer, dial)
		if _, err := c.Health(t.Context()); (err == nil) != want.get || err != nil && !errors.Is(err, station.ErrUnavailable) {
			t.Errorf("%d drops: %v", drops, err)
		}
		if n := dials.Load(); n != want.dials {
			t.Errorf("%d drops: %d dials", drops, n)
		}
		dials.Store(0)
		c = NewClient("abcdefghijkl", signer, dial)
		if err := c.call(t.Context(), nil, http.MethodPost, PathHealth, nil, nil); (err == nil) != want.post {
			t.Errorf("%d drops, a change: %v", drops, err)
		}
		if n := dials.Load(); n != 1 {
			t.Errorf("%d drops, a change: %d dials", drops, n)
		}
	}
}
