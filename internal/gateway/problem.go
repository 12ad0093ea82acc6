package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"staithe/internal/auth"
	"staithe/internal/station"
)

// problem is an RFC 9457 document. Code is stable and for programs; Detail is a
// sentence for the person that says what to do.
type problem struct {
	Type      string       `json:"type" example:"about:blank"`
	Title     string       `json:"title" example:"Not Found"`
	Status    int          `json:"status" example:"404"`
	Code      string       `json:"code" example:"no_session" doc:"Stable name of what is wrong"`
	Detail    string       `json:"detail" doc:"A sentence that says what to do"`
	RequestID string       `json:"request_id,omitempty" doc:"Names the request in the server's log"`
	Errors    []fieldError `json:"errors,omitempty" doc:"What is wrong where in the request"`

	retryAfter int // seconds; 0: not said
}

// fieldError says where a request is wrong. Unlike huma's own it never repeats
// the value: it may be a password.
type fieldError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

func (p *problem) Error() string { return p.Detail }

// GetStatus and the next two are what huma asks an error for.
func (p *problem) GetStatus() int { return p.Status }

// ContentType is RFC 9457's.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders tells a client when to come again, and how to sign in.
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="staithe"`) // RFC 9110 section 15.5.2
	}
	return h
}

// statuses is the one table from sentinels to HTTP.
var statuses = []struct {
	kind   error
	status int
}{
	{station.ErrInvalid, http.StatusBadRequest},
	{station.ErrUnauthenticated, http.StatusUnauthorized},
	{station.ErrForbidden, http.StatusForbidden},
	{station.ErrNotFound, http.StatusNotFound},
	{station.ErrConflict, http.StatusConflict},
	{station.ErrGone, http.StatusGone},
	{station.ErrLimited, http.StatusTooManyRequests},
	{station.ErrUnavailable, http.StatusServiceUnavailable},
	{station.ErrNoSpace, http.StatusInsufficientStorage},
}

// codes name what the framework itself refuses.
var codes = map[int]string{
	400: "bad_request", 404: "not_found", 405: "wrong_method", 408: "too_slow", 413: "too_large",
	415: "wrong_content_type", 416: "bad_range", 422: "bad_request", 426: "upgrade_required",
}

// toProblem turns any error into a document. Only a station.Problem's sentence
// is shown; what nobody foresaw is a bare 500 with the request's id, logged.
func (g *Gateway) toProblem(ctx context.Context, err error) *problem {
	req := requestOf(ctx)
	if p, ok := errors.AsType[*problem](err); ok {
		q := *p
		return q.filled(req)
	}
	p := &problem{}
	if l, ok := errors.AsType[*auth.Limited](err); ok {
		p.retryAfter = int(l.RetryAfter.Seconds())
	}
	sp, ok := errors.AsType[*station.Problem](err)
	for _, s := range statuses {
		if ok && errors.Is(sp.Kind, s.kind) {
			p.Status, p.Code, p.Detail = s.status, sp.Code, sp.Sentence
			if sp.Cause != nil {
				g.log.Warn("request failed", "request", req.id, "code", sp.Code, "err", err)
			}
			return p.filled(req)
		}
	}
	switch {
	case errors.Is(err, station.ErrNotFound): // a bare sentinel is as clear
		p.Status, p.Code, p.Detail = http.StatusNotFound, "not_found", "There is no such thing, or it is not yours."
	case errors.Is(err, context.Canceled) && ctx.Err() != nil: // nobody reads the answer
		p.Status, p.Code, p.Detail = http.StatusServiceUnavailable, "canceled", "The request was given up."
	case errors.Is(err, context.DeadlineExceeded):
		p.Status, p.Code, p.Detail = http.StatusGatewayTimeout, "timeout", "This took too long; try again in a moment."
	default:
		g.log.Error("request failed", "request", req.id, "err", err)
		p.Status, p.Code = http.StatusInternalServerError, "internal"
		p.Detail = "Something went wrong here. Try again; if it stays, give the administrator the request id " + req.id + "."
	}
	return p.filled(req)
}

func (p *problem) filled(req *request) *problem {
	p.Type, p.Title, p.RequestID = "about:blank", http.StatusText(p.Status), req.id
	return p
}

// refuse answers with an error's document.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := g.toProblem(r.Context(), err)
	for k, v := range p.GetHeaders() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	if err := json.NewEncoder(w).Encode(p); err != nil {
		g.log.Debug("the answer was not read", "request", p.RequestID, "err", err)
	}
}

func (g *Gateway) noRoute(w http.ResponseWriter, r *http.Request) {
	g.refuse(w, r, station.Errorf(station.ErrNotFound, "no_route", "There is nothing at this address; GET /api/v1/openapi.json lists what there is."))
}

// noOperation tells an address that there is not from one that is there for
// other methods.
func (g *Gateway) noOperation(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allow []string
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			other := r.Clone(r.Context())
			other.Method = method
			if _, pattern := mux.Handler(other); pattern != r.Pattern {
				allow = append(allow, method)
			}
		}
		if len(allow) == 0 {
			g.noRoute(w, r)
			return
		}
		w.Header().Set("Allow", strings.Join(allow, ", "))
		g.refuse(w, r, &problem{Status: http.StatusMethodNotAllowed, Code: codes[http.StatusMethodNotAllowed],
			Detail: "This address is not for " + plain(r.Method) + "; use " + strings.Join(allow, ", ") + "."})
	}
}

// frameworkErrors makes huma speak in our documents. Its hooks are package
// variables; they are set once, before any API is made.
var frameworkErrors = sync.OnceFunc(func() {
	huma.DefaultArrayNullable = false
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		p := &problem{Status: status, Code: codes[status], Detail: "The request cannot be taken: " + msg + "."}
		if p.Code == "" {
			p.Code = "refused"
		}
		for _, err := range errs {
			if d, ok := err.(huma.ErrorDetailer); ok {
				p.Errors = append(p.Errors, fieldError{d.ErrorDetail().Location, d.ErrorDetail().Message})
			}
		}
		if len(p.Errors) > 0 {
			var said []string
			for _, e := range p.Errors {
				said = append(said, strings.TrimSpace(e.Location+" "+e.Message))
			}
			p.Detail = "The request cannot be taken: " + strings.Join(said, "; ") + "."
		}
		return p.filled(&request{})
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		p := huma.NewError(status, msg, errs...).(*problem)
		return p.filled(requestOf(ctx.Context()))
	}
})
