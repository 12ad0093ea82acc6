package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"staithe/internal/station"
)

// metrics counts. Labels are routes and kinds, never names, ids or tokens.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	logins   *prometheus.CounterVec
	handler  http.Handler
}

func newMetrics(reg *prometheus.Registry, live *registry) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "staithe_http_requests_total",
			Help: "HTTP requests answered."}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "staithe_http_request_seconds",
			Help: "Time to answer an HTTP request; for a WebSocket, its life.", Buckets: []float64{.001, .005, .025, .1, .5, 2, 10}}, []string{"route"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "staithe_logins_total",
			Help: "Attempts to sign in."}, []string{"result"}),
		handler: promhttp.HandlerFor(reg, promhttp.HandlerOpts{}),
	}
	sockets := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "staithe_websockets", Help: "Live WebSockets."},
		func() float64 { return float64(live.count()) })
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.logins, sockets,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) request(method, route string, status int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete, http.MethodOptions:
	default:
		method = "other" // a client's invention must not become a label
	}
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

func (m *metrics) login(err error) {
	result := "ok"
	switch {
	case errors.Is(err, station.ErrLimited):
		result = "limited"
	case err != nil:
		result = "refused"
	}
	m.logins.WithLabelValues(result).Inc()
}

// serveMetrics is for admins alone: how many users do what is nobody's business.
func (g *Gateway) serveMetrics(w http.ResponseWriter, r *http.Request) {
	if _, err := g.authorize(r.Context(), admins); err != nil {
		g.refuse(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	g.metrics.handler.ServeHTTP(w, r)
}
