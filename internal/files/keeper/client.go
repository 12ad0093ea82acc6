package keeper

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"staithe/internal/files/filesapi"
)

const (
	// pooled is less than a helper keeps a connection, and far less than it lives
	// without a request: what is taken from the pool is good.
	pooled = 30 * time.Second
	// mayBegin is how long a helper may look at a request before it wants the body.
	mayBegin    = 10 * time.Second
	connections = 8 // that are kept, to one helper
	// chunk is how much of a body is copied at once.
	chunk = 64 << 10
)

type homeKey struct{}

// newTransport carries requests to helpers. Each request's context has its home;
// connections are pooled by host, which is the workstation's id.
func (k *Keeper) newTransport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			home, ok := ctx.Value(homeKey{}).(Home)
			if !ok {
				return nil, fmt.Errorf("no home is known for this request")
			}
			return k.Dial(ctx, home)
		},
		MaxIdleConnsPerHost: connections, MaxIdleConns: 512, IdleConnTimeout: pooled, ExpectContinueTimeout: mayBegin,
		DisableCompression: true, ReadBufferSize: chunk, WriteBufferSize: chunk,
	}
}

// Client is a client of a home's helper, which its first request starts when it
// does not run. It costs nothing to make.
func (k *Keeper) Client(home Home) *filesapi.Client {
	return filesapi.NewClient(homeTransport{k.transport, home}, string(home.Workstation.ID))
}

// homeTransport says whose home a request is for.
type homeTransport struct {
	transport *http.Transport
	home      Home
}

// closedIdle is what http.Transport says of a connection of its pool whose other end
// was gone before a request was sent on it. It has no name there, and only what may
// be done twice is sent again by the transport itself.
const closedIdle = "http: server closed idle connection"

// RoundTrip is http.RoundTripper's. When a helper has ended, what was not sent to it
// yet goes to the next.
func (t homeTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.WithContext(context.WithValue(req.Context(), homeKey{}, t.home))
	for tries := 0; ; tries++ {
		res, err := t.transport.RoundTrip(req)
		if err == nil || err.Error() != closedIdle || tries >= connections {
			return res, err
		}
		if req.Body == nil || req.Body == http.NoBody {
			continue
		}
		if req.GetBody == nil {
			return nil, err
		}
		body, gone := req.GetBody()
		if gone != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.Body = body
	}
}
