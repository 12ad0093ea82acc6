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
	mayBegin = 10 * time.Second
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
		MaxIdleConnsPerHost: 8, MaxIdleConns: 512, IdleConnTimeout: pooled, ExpectContinueTimeout: mayBegin,
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

// RoundTrip is http.RoundTripper's.
func (t homeTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.transport.RoundTrip(req.WithContext(context.WithValue(req.Context(), homeKey{}, t.home)))
}
