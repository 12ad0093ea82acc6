package s3test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/time/rate"
)

// Faults are what is wrong between client and server. The zero value is nothing.
type Faults struct {
	Only    func(*http.Request) bool // which requests; nil: all
	Percent int                      // of those, by chance; 0: all
	// One of these is what happens.
	Status int    // is answered, with the S3 error
	Code   string // such as SlowDown
	Down   bool   // the connection is closed without an answer
	Torn   bool   // the answer is cut in its middle
	Unread bool   // the request is cut in its middle: half of it reaches the server
	// BytesPerSecond is how fast all of it is, together and in each direction; 0: as
	// it is. It is besides the others, and for all requests.
	BytesPerSecond int
}

// Proxy is in front of a server.
type Proxy struct {
	URL      string // what clients are told: http://host:port
	Requests atomic.Int64
	Hit      atomic.Int64 // how many the faults hit

	mu      sync.Mutex
	faults  Faults
	in, out *rate.Limiter
	to      *httputil.ReverseProxy
}

func newProxy(t testing.TB, addr string) *Proxy {
	p := &Proxy{to: httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})}
	p.to.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { panic(http.ErrAbortHandler) }
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	p.URL = srv.URL
	return p
}

// Set sets what is wrong from now on. Requests under way keep what they have.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults, p.in, p.out = f, nil, nil
	if f.BytesPerSecond > 0 {
		p.in, p.out = rate.NewLimiter(rate.Limit(f.BytesPerSecond), chunk), rate.NewLimiter(rate.Limit(f.BytesPerSecond), chunk)
	}
}

const chunk = 16 << 10

// ServeHTTP passes a request on, or does not.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.Requests.Add(1)
	p.mu.Lock()
	f, in, out := p.faults, p.in, p.out
	p.mu.Unlock()
	if in != nil {
		r.Body = &slowBody{r.Body, in, r.Context()}
		w = &slowWriter{w, out, r.Context()}
	}
	hit := f.Status != 0 || f.Down || f.Torn || f.Unread
	if !hit || f.Only != nil && !f.Only(r) || f.Percent > 0 && rand.IntN(100) >= f.Percent {
		p.to.ServeHTTP(w, r)
		return
	}
	p.Hit.Add(1)
	switch {
	case f.Status != 0:
		_, _ = io.Copy(io.Discard, r.Body) // as real ones do before they answer
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(f.Status)
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message></Error>`, f.Code, f.Code)
	case f.Unread && r.ContentLength > 1:
		r.Body = io.NopCloser(io.LimitReader(r.Body, r.ContentLength/2))
		p.to.ServeHTTP(w, r)
	case f.Torn:
		p.tear(w, r)
	default:
		panic(http.ErrAbortHandler) // closes the connection
	}
}

// tear sends half of an answer and closes.
func (p *Proxy) tear(w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	p.to.ServeHTTP(rec, r)
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	b := rec.Body.Bytes()
	if len(b) < 2 {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(rec.Code)
	_, _ = w.Write(b[:len(b)/2]) // the client may be gone
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}

type slowBody struct {
	io.ReadCloser
	limit *rate.Limiter
	ctx   context.Context
}

func (b *slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), chunk)])
	if werr := b.limit.WaitN(b.ctx, n); werr != nil {
		return n, werr
	}
	return n, err
}

type slowWriter struct {
	http.ResponseWriter
	limit *rate.Limiter
	ctx   context.Context
}

func (w *slowWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), chunk)]
		if err := w.limit.WaitN(w.ctx, len(part)); err != nil {
			return n, err
		}
		m, err := w.ResponseWriter.Write(part)
		if n += m; err != nil {
			return n, err
		}
		p = p[len(part):]
	}
	return n, nil
}

// Unwrap lets the server flush.
func (w *slowWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
