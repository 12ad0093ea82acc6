package gateway

import (
	"context"
	"crypto/rand"
	"fmt"
	"mime"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"staithe/internal/auth"
	"staithe/internal/station"
)

// request is what the gateway knows about a request before it knows who sent
// it. user is set once that is known, for the log.
type request struct {
	id      string
	own     origin // the own origin it was sent to
	address netip.Addr
	cookies map[string]auth.Secret
	bearer  *auth.Secret // nil without an Authorization header
	user    station.ID
}

type requestKey struct{}

// requestOf is never nil.
func requestOf(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return &request{}
}

// maxBody bounds the body of every API request.
const maxBody = 64 << 10

// csp is the page's content security policy, and good for everything else too.
const csp = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

func secure(h http.Header, own origin) {
	h.Set("Content-Security-Policy", csp)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	if own.scheme == "https" {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// wrap is what every request goes through, from the outside in: an id, the log
// line, no panic out, safe headers, an own Host, no foreign page's writes.
func (g *Gateway) wrap(mux *http.ServeMux) http.Handler {
	foreign := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own, hostErr := g.own.Load().ofHost(r)
		req := &request{id: rand.Text()[:12], own: own, address: g.address(r)}
		req.readCredentials(r)
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, req))
		rec := &recorder{ResponseWriter: w}
		secure(rec.Header(), own)
		rec.Header().Set("X-Request-Id", req.id)
		defer g.logged(rec, r, req, time.Now())
		defer g.recovered(rec, r)

		if hostErr != nil && r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
			g.refuse(rec, r, hostErr)
			return
		}
		if err := g.checkWrite(foreign, r, req); err != nil {
			g.refuse(rec, r, err)
			return
		}
		mux.ServeHTTP(rec, r)
	})
}

// checkWrite refuses what a foreign page could have caused (CSRF), and bodies
// that are not JSON, as forms send them, where no file is meant.
func (g *Gateway) checkWrite(foreign *http.CrossOriginProtection, r *http.Request, req *request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	if _, err := checkOrigin(r, req.own); err != nil {
		return err
	}
	if err := foreign.Check(r); err != nil {
		return station.Errorf(station.ErrForbidden, "foreign_origin",
			"Another site's page tried to do this; open %s yourself.", req.own).Because(err)
	}
	if !strings.HasPrefix(r.URL.Path, "/api/") {
		return nil
	}
	if takesFile(r) {
		return nil
	}
	r.Body = http.MaxBytesReader(nil, r.Body, maxBody)
	if r.ContentLength == 0 {
		return nil
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return &problem{Status: http.StatusUnsupportedMediaType, Code: "wrong_content_type",
			Detail: "The body must be JSON; send it with Content-Type: application/json."}
	}
	return nil
}

// takesFile says whether a request's body is a file, of any type and size.
func takesFile(r *http.Request) bool {
	switch r.Method {
	case http.MethodPut:
		return r.URL.Path == prefix+contentPath
	case http.MethodPost, http.MethodPatch: // no form sends these types
		switch r.Header.Get("Content-Type") {
		case chunkType:
			return strings.HasPrefix(r.URL.Path, prefix+uploadsPath)
		case "application/octet-stream":
			return r.Method == http.MethodPost && r.URL.Path == prefix+extractPath
		}
	}
	return false
}

// recovered turns a panic into a 500. An aborted handler stays one.
func (g *Gateway) recovered(w *recorder, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	g.log.Error("panic in a request", "request", requestOf(r.Context()).id, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler) // half an answer must not look whole
	}
	g.refuse(w, r, &problem{Status: http.StatusInternalServerError, Code: "internal",
		Detail: "Something went wrong here; give the administrator the request id."})
}

// logged writes the access line and counts. No query, header or cookie is in
// it, and no path that leads nowhere: people paste links with tokens in them.
func (g *Gateway) logged(w *recorder, r *http.Request, req *request, start time.Time) {
	took := time.Since(start)
	if w.status == 0 {
		w.status = http.StatusOK
	}
	route := r.Pattern
	if _, after, ok := strings.Cut(route, " "); ok {
		route = after
	}
	path := "-"
	if route != "" && route != "/" && w.status != http.StatusNotFound {
		path = plainPath(r.URL.Path)
	}
	g.metrics.request(r.Method, route, w.status, took)
	g.log.Info("request", "request", req.id, "method", r.Method, "path", path, "status", w.status,
		"bytes", w.bytes, "ms", took.Milliseconds(), "from", req.address, "user", req.user)
}

// plainPath keeps the parts of a path that can be a name or an id. Every secret
// of ours is longer, and is what people paste where a name belongs.
func plainPath(p string) string {
	parts := strings.Split(p, "/")
	for i, part := range parts {
		if part != "" && station.CheckName("", part) != nil && part != "openapi.json" {
			parts[i] = "-"
		}
	}
	return strings.Join(parts, "/")
}

// recorder notes an answer's status and size for the log.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 || status == http.StatusSwitchingProtocols {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController and Hijack reach the real one.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
