package transfer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/station"
)

const (
	filesRoute  = "/api/v1/workstation/files"
	uploadRoute = "/api/v1/workstation/uploads"

	// answerMax bounds what is read of one answer in JSON, in bytes.
	answerMax = 64 << 20
	// askLimit bounds a request without a file's bytes.
	askLimit = 60 * time.Second
)

// Client speaks to a server's file API. Safe for concurrent use.
type Client struct {
	Base  string // https://host, without a slash at its end
	Token string
	HTTP  *http.Client // without a timeout of its own: a file may take hours
	// Patience is how long something is tried again that gets no further.
	Patience time.Duration
	// Say hears when the connection is lost and when it is back; it may be nil.
	Say func(lost bool)

	gone atomic.Bool // what was said last
}

// New returns a client with defaults.
func New(base, token string) *Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = Workers
	t.ResponseHeaderTimeout = 2 * time.Minute // also of a large file's last sync
	t.ExpectContinueTimeout = 2 * time.Second
	return &Client{Base: base, Token: token, HTTP: &http.Client{Transport: t}, Patience: 2 * time.Minute}
}

// send sends one request. An answer other than 2xx is an error with the server's
// code; one that did not come wraps station.ErrUnavailable.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, header http.Header, body io.Reader, length int64) (*http.Response, error) {
	u := c.Base + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	if body != nil {
		req.ContentLength = length
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		return nil, refusal(res)
	}
	return res, nil
}

// lost is the error of a connection that broke.
func (c *Client) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return station.Errorf(station.ErrUnavailable, "unreachable", "%s does not answer; check the address and that `staithe serve` runs there.", c.Base).Because(err)
}

// kinds maps statuses to sentinels.
var kinds = map[int]error{
	http.StatusUnauthorized: station.ErrUnauthenticated, http.StatusForbidden: station.ErrForbidden, http.StatusNotFound: station.ErrNotFound,
	http.StatusConflict: station.ErrConflict, http.StatusGone: station.ErrGone, http.StatusTooManyRequests: station.ErrLimited,
	http.StatusInsufficientStorage: station.ErrNoSpace, http.StatusLocked: station.ErrLimited, http.StatusRequestTimeout: station.ErrUnavailable,
}

// refusal reads a problem document. What it says came from elsewhere: controls in
// it are made harmless.
func refusal(res *http.Response) error {
	kind, ok := kinds[res.StatusCode]
	switch {
	case !ok && res.StatusCode >= 500:
		kind = station.ErrUnavailable
	case !ok:
		kind = station.ErrInvalid
	}
	var p struct{ Code, Detail string }
	err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&p)
	if code := res.Header.Get(filesapi.HeaderFailure); err != nil && code != "" {
		return station.Errorf(kind, code, "The server refused this (%s).", Inert(code))
	}
	if err != nil && res.StatusCode == http.StatusPreconditionFailed {
		return changed()
	}
	if err != nil || p.Detail == "" {
		return station.Errorf(kind, "bad_answer", "The server answered %s, without a reason; is it staithe?", Inert(res.Status))
	}
	return station.Errorf(kind, p.Code, "%s", Inert(p.Detail))
}

// code is what a refusal is called; "" for other errors.
func code(err error) string {
	if p, ok := errors.AsType[*station.Problem](err); ok {
		return p.Code
	}
	return ""
}

// passes says whether an error may go away by itself.
func passes(err error) bool {
	return errors.Is(err, station.ErrUnavailable) || errors.Is(err, station.ErrLimited)
}

// again counts the tries of one thing.
type again struct {
	c     *Client
	since time.Time // of the first failure that was not followed by progress
	wait  time.Duration
}

// moved says that something got further.
func (a *again) moved() {
	if !a.since.IsZero() {
		a.c.say(false)
	}
	a.since, a.wait = time.Time{}, 0
}

// next waits before another try, or returns err when it is not worth one.
func (a *again) next(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !passes(err) {
		return err
	}
	if a.since.IsZero() {
		a.since = time.Now()
		a.c.say(true)
	}
	if time.Since(a.since) > a.c.Patience {
		return err
	}
	a.wait = min(max(2*a.wait, 100*time.Millisecond), 5*time.Second)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(a.wait):
		return nil
	}
}

func (c *Client) say(lost bool) {
	if c.gone.Swap(lost) != lost && c.Say != nil {
		c.Say(lost)
	}
}

// repeat tries something that can be done twice until it is done.
func (c *Client) repeat(ctx context.Context, do func() error) error {
	for a := (again{c: c}); ; {
		err := do()
		if err == nil {
			a.moved()
			return nil
		}
		if err := a.next(ctx, err); err != nil {
			return err
		}
	}
}

// ask sends in as JSON, unless it is nil, and has the answer's body read.
func (c *Client) ask(ctx context.Context, method, route string, query url.Values, in any, read func(io.Reader) error) error {
	return c.repeat(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		var body io.Reader
		header, length := http.Header{}, int64(0)
		if in != nil {
			b, err := json.Marshal(in)
			if err != nil {
				return err
			}
			header.Set("Content-Type", "application/json")
			body, length = bytes.NewReader(b), int64(len(b))
		}
		res, err := c.send(ctx, method, route, query, header, body, length)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if read == nil {
			return nil
		}
		return read(io.LimitReader(res.Body, answerMax))
	})
}

// decode reads one JSON value. An answer that was cut off is asked for again.
func decode(v any) func(io.Reader) error {
	return func(r io.Reader) error {
		if err := json.NewDecoder(r).Decode(v); err != nil {
			return station.Errorf(station.ErrUnavailable, "bad_answer", "The server's answer cannot be read; try again.").Because(fmt.Errorf("%.200q", err.Error()))
		}
		return nil
	}
}

func named(p files.Path) url.Values { return url.Values{"path": {p.String()}} }

// Stat is what p is; a link is itself.
func (c *Client) Stat(ctx context.Context, p files.Path) (e files.Entry, err error) {
	err = c.ask(ctx, http.MethodGet, filesRoute+"/stat", named(p), nil, decode(&e))
	return e, err
}

// Follow is what p is, or what it leads to when it is a link.
func (c *Client) Follow(ctx context.Context, p files.Path) (files.Entry, error) {
	e, err := c.Stat(ctx, p)
	if err == nil && e.Kind == files.KindSymlink && e.LeadsTo != "" {
		e.Kind = e.LeadsTo
	}
	return e, err
}

// List calls each with what is in a folder, by name. hidden: also names that
// begin with a dot.
func (c *Client) List(ctx context.Context, p files.Path, hidden bool, each func(files.Entry) error) error {
	for cursor := ""; ; {
		q := named(p)
		q.Set("hidden", strconv.FormatBool(hidden))
		q.Set("cursor", cursor)
		var l files.Listing
		if err := c.ask(ctx, http.MethodGet, filesRoute, q, nil, decode(&l)); err != nil {
			return err
		}
		if l.Cut { // a part is not to be taken for the whole
			return station.Errorf(station.ErrInvalid, "too_many_names", "%s has more names than can be listed; copy it as an archive.", Quote(string(p)))
		}
		for _, e := range l.Entries {
			if err := oneName(e.Name); err != nil {
				return err
			}
			if err := each(e); err != nil {
				return err
			}
		}
		if l.Next == "" || l.Next == cursor {
			return nil
		}
		cursor = l.Next
	}
}

// oneName refuses what a server may say instead of a name.
func oneName(name files.Path) error {
	if p, err := name.Clean(); err != nil || p.Home() || bytes.ContainsRune([]byte(p), '/') {
		return station.Errorf(station.ErrInvalid, "bad_name", "The server named a file %s, which is no name; nothing of it is taken.", Quote(string(name)))
	}
	return nil
}

// Mkdir makes a folder and those on the way; that it is there is no error.
func (c *Client) Mkdir(ctx context.Context, p files.Path, mode uint32) error {
	return c.ask(ctx, http.MethodPost, filesRoute+"/folders", nil, filesapi.Folder{Path: p, Mode: mode, Parents: true}, nil)
}

// Link makes a symlink.
func (c *Client) Link(ctx context.Context, target string, p files.Path) error {
	return c.ask(ctx, http.MethodPost, filesRoute+"/links", nil, filesapi.Link{Target: []byte(target), Path: p}, nil)
}

// Mode sets permission bits.
func (c *Client) Mode(ctx context.Context, p files.Path, mode uint32) error {
	return c.ask(ctx, http.MethodPost, filesRoute+"/mode", nil, filesapi.Mode{Path: p, Mode: mode}, nil)
}

// Trash puts p into the trash.
func (c *Client) Trash(ctx context.Context, p files.Path) error {
	return c.ask(ctx, http.MethodPost, filesRoute+"/trash", nil, filesapi.Named{Path: p}, nil)
}

// Hashes says what is in files; at most filesapi.HashMax paths.
func (c *Client) Hashes(ctx context.Context, paths []files.Path) (out []filesapi.Hashed, err error) {
	err = c.repeat(ctx, func() error {
		b, err := json.Marshal(filesapi.Hash{Paths: paths})
		if err != nil {
			return err
		}
		out = out[:0]
		res, err := c.send(ctx, http.MethodPost, filesRoute+"/hash", nil, http.Header{"Content-Type": {"application/json"}}, bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		r := bufio.NewReader(io.LimitReader(res.Body, answerMax))
		for range paths {
			var h filesapi.Hashed
			line, err := r.ReadBytes('\n')
			if err != nil {
				return c.lost(ctx, err)
			}
			if err := decode(&h)(bytes.NewReader(line)); err != nil {
				return err
			}
			out = append(out, h)
		}
		return nil
	})
	return out, err
}
