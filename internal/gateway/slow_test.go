package gateway

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A stranger who promises a body and never sends it holds no connection for
// ever, whatever the answer is; what only takes long is not cut.
func TestBodiesThatNeverCome(t *testing.T) {
	b := newBench(t, withTiming(func(tm *timing) { tm.body = time.Second }), func(o *Options, _ *timing) {
		o.Ready = []Check{{Name: "slow", Ask: func(ctx context.Context) error {
			select {
			case <-ctx.Done():
			case <-time.After(3 * time.Second):
			}
			return ctx.Err()
		}}}
	})
	br := b.admin()
	conn := br.open("main")
	host := strings.TrimPrefix(b.base, "http://")
	for name, line := range map[string]string{
		"login": "POST /api/v1/login", "refused": "POST /api/v1/tokens", "no route": "POST /nowhere", "page": "GET /", "socket": "GET /ws/hello",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", host)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, line+" HTTP/1.1\r\nHost: "+host+"\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"us"); err != nil {
				t.Fatal(err)
			}
			c.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, bufio.NewReader(c)); err != nil {
				t.Errorf("the connection is still open: %v", err)
			}
		})
	}
	br.must(200, "GET", "/readyz", nil)
	works(t, conn)
}
