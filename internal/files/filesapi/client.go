package filesapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"

	"staithe/internal/station"
)

// Client speaks to one user's helper. Safe for concurrent use.
type Client struct {
	transport http.RoundTripper
	host      string
}

// NewClient returns a client whose requests go through transport, which
// reaches the helper under host.
func NewClient(transport http.RoundTripper, host string) *Client {
	return &Client{transport, host}
}

// Request is one to the helper.
type Request struct {
	Method string
	Path   string // one of the routes
	Query  url.Values
	Header http.Header
	Body   io.Reader // nil: none
	Length int64     // of Body, in bytes; -1: not known
}

// JSON makes v the body.
func (q *Request) JSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the request to the files helper: %w", err)
	}
	q.Body, q.Length = bytes.NewReader(b), int64(len(b))
	return nil
}

// Send sends a request and returns whatever is answered; the caller closes the
// body. The error wraps station.ErrUnavailable when the helper does not answer.
func (c *Client) Send(ctx context.Context, q Request) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: c.host, Path: q.Path, RawQuery: q.Query.Encode()}
	req, err := http.NewRequestWithContext(ctx, q.Method, u.String(), q.Body)
	if err != nil {
		return nil, fmt.Errorf("ask the files helper: %w", err)
	}
	if q.Header != nil {
		req.Header = q.Header
	}
	if q.Body != nil {
		req.ContentLength = q.Length
		if req.GetBody == nil { // else it is in memory
			b := &unread{Reader: q.Body}
			req.Body, req.GetBody = b, b.again
		}
	}
	res, err := c.transport.RoundTrip(req)
	if err == nil {
		return res, nil
	}
	if _, ok := errors.AsType[*station.Problem](err); ok || ctx.Err() != nil {
		return nil, err
	}
	return nil, noAnswer().Because(err)
}

// unread is a request's body that can be sent once more while nothing of it was
// read: when a connection of the pool turns out to lead to a helper that has ended.
// To close it does nothing, as it is its owner's.
type unread struct {
	io.Reader
	begun atomic.Bool
}

func (u *unread) Read(b []byte) (int, error) {
	u.begun.Store(true)
	return u.Reader.Read(b)
}

func (u *unread) Close() error { return nil }

// again is http.Request.GetBody.
func (u *unread) again() (io.ReadCloser, error) {
	if u.begun.Load() {
		return nil, errors.New("the files helper ended when the request was on its way")
	}
	return u, nil
}

// Do is Send for who wants an answer that is good: any other than 2xx, 304 and
// 416 becomes a *station.Problem with the helper's code and sentence.
func (c *Client) Do(ctx context.Context, q Request) (*http.Response, error) {
	res, err := c.Send(ctx, q)
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 == 2 || res.StatusCode == http.StatusNotModified || res.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return res, nil
	}
	defer res.Body.Close()
	return nil, problem(res)
}

// Call sends in as JSON, unless it is nil, and reads the answer's JSON, unless
// it has none. Errors are as of Do.
func Call[O any](ctx context.Context, c *Client, method, path string, query url.Values, in any) (out O, err error) {
	q := Request{Method: method, Path: path, Query: query}
	if in != nil {
		if err := q.JSON(in); err != nil {
			return out, err
		}
	}
	res, err := c.Do(ctx, q)
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNoContent {
		return out, nil
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return out, noAnswer().Because(err)
	}
	return out, nil
}

// problemMax bounds what is read of an answer that refuses.
const problemMax = 64 << 10

// kinds maps the helper's statuses back to sentinels.
var kinds = map[int]error{
	400: station.ErrInvalid, 403: station.ErrForbidden, 404: station.ErrNotFound, 409: station.ErrConflict, 410: station.ErrGone, 412: station.ErrConflict,
	429: station.ErrLimited, 503: station.ErrUnavailable, 507: station.ErrNoSpace,
}

// problem is what a refusal says. One without a body, as of HEAD, is told by its
// status alone.
func problem(res *http.Response) error {
	kind, known := kinds[res.StatusCode]
	var f Failure
	err := json.NewDecoder(io.LimitReader(res.Body, problemMax)).Decode(&f)
	switch {
	case known && err == nil && f.Code != "" && f.Sentence != "":
		return &station.Problem{Kind: kind, Code: f.Code, Sentence: f.Sentence}
	case res.StatusCode == http.StatusPreconditionFailed:
		return station.Errorf(kind, "file_changed", "The file is not as it was; look at it again.")
	case known && kind != station.ErrUnavailable && errors.Is(err, io.EOF):
		return station.Errorf(kind, "refused", "The files helper refused this; ask with GET to hear why.")
	}
	return noAnswer().Because(fmt.Errorf("the files helper answered %s: %w", res.Status, err))
}

func noAnswer() *station.Problem {
	return station.Errorf(station.ErrUnavailable, "no_files", "The files cannot be served now; try again in a moment.")
}
