package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// health says that the process answers.
func (g *Gateway) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write([]byte("ok\n"))
}

// readyLimit is how long all checks may take.
const readyLimit = 5 * time.Second

// readiness is what the parts the server cannot do without said last. Anybody
// may ask, so that they are not asked more often than now and then.
type readiness struct {
	mu     sync.Mutex // held while asking: an operation lock
	at     time.Time
	status int
	parts  map[string]string // never changed once made
}

func (g *Gateway) askParts(ctx context.Context) (status int, parts map[string]string) {
	c := &g.checked
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.IsZero() && time.Since(c.at) < g.timing.ready {
		return c.status, c.parts
	}
	// The answer is others' too: it does not end with who asked.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyLimit)
	defer cancel()
	c.status, c.parts = http.StatusOK, map[string]string{}
	for _, part := range g.ready {
		c.parts[part.Name] = "ok"
		if err := part.Ask(ctx); err != nil {
			g.log.Warn("not ready", "part", part.Name, "err", err)
			c.status, c.parts[part.Name] = http.StatusServiceUnavailable, "failed"
		}
	}
	c.at = time.Now()
	return c.status, c.parts
}

// readyz is GET /readyz. What is wrong is in the log.
func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) {
	status, parts := g.askParts(r.Context())
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(parts); err != nil {
		g.log.Debug("the answer was not read", "err", err)
	}
}
