package gateway

import (
	"context"
	"encoding/json"
	"net/http"
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

// readiness asks the parts the server cannot do without. What is wrong is in
// the log: anybody may ask here.
func (g *Gateway) readiness(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyLimit)
	defer cancel()
	status, parts := http.StatusOK, map[string]string{}
	for _, c := range g.ready {
		parts[c.Name] = "ok"
		if err := c.Ask(ctx); err != nil {
			g.log.Warn("not ready", "part", c.Name, "err", err)
			status, parts[c.Name] = http.StatusServiceUnavailable, "failed"
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(parts); err != nil {
		g.log.Debug("the answer was not read", "err", err)
	}
}
