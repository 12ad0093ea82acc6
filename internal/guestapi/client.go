package guestapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/station"
)

// maxAnswer bounds what is read of a guest's answer: a guest may be hostile.
const maxAnswer = 1 << 20

// callTimeout bounds one plain request to a guest.
const callTimeout = 15 * time.Second

// Client speaks to one guest. Safe for concurrent use; Close frees idle
// connections.
type Client struct {
	session station.ID
	signer  *Signer
	http    *http.Client
}

// NewClient makes a client for a session's guest that is reached by dial.
func NewClient(session station.ID, signer *Signer, dial func(context.Context) (net.Conn, error)) *Client {
	return &Client{session: session, signer: signer, http: &http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
			ResponseHeaderTimeout:  callTimeout,
			IdleConnTimeout:        30 * time.Second,
			MaxIdleConns:           2,
		},
		// A redirect would be the guest choosing where the gateway goes.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close frees idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Health asks the guest whether it lives. The error wraps
// station.ErrUnavailable when it does not, or is another session's.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	if err := c.call(ctx, nil, http.MethodGet, PathHealth, nil, &h); err != nil {
		return h, err
	}
	if h.Session != c.session {
		return h, station.Errorf(station.ErrUnavailable, "wrong_guest", "Another session's guest answered; restart the session.")
	}
	return h, nil
}

// Tabs lists the session's tabs as id may see them.
func (c *Client) Tabs(ctx context.Context, id Identity) ([]station.Tab, error) {
	var tabs []station.Tab
	err := c.call(ctx, &id, http.MethodGet, PathTabs, nil, &tabs)
	return tabs, err
}

// CreateTab starts a shell nobody is attached to yet.
func (c *Client) CreateTab(ctx context.Context, id Identity, t TabCreate) (station.Tab, error) {
	var tab station.Tab
	err := c.call(ctx, &id, http.MethodPost, PathTabs, t, &tab)
	return tab, err
}

// RenameTab renames a tab, named by id or name.
func (c *Client) RenameTab(ctx context.Context, id Identity, tab, name string) (station.Tab, error) {
	var out station.Tab
	err := c.call(ctx, &id, http.MethodPatch, PathTabs+"/"+url.PathEscape(tab), TabPatch{name}, &out)
	return out, err
}

// CloseTab ends a tab, named by id or name: SIGHUP, SIGKILL after 5 s.
func (c *Client) CloseTab(ctx context.Context, id Identity, tab string) error {
	return c.call(ctx, &id, http.MethodDelete, PathTabs+"/"+url.PathEscape(tab), nil, nil)
}

// Screen is what a tab shows, with up to back lines of the scrollback; painted with
// the sequences of its colours. The texts are a program's.
func (c *Client) Screen(ctx context.Context, id Identity, tab string, back int, painted bool) (station.Screen, error) {
	q := url.Values{"lines": {strconv.Itoa(back)}, "painted": {strconv.FormatBool(painted)}}
	var s station.Screen
	err := c.call(ctx, &id, http.MethodGet, PathTabs+"/"+url.PathEscape(tab)+"/screen?"+q.Encode(), nil, &s)
	return s, err
}

// Mux opens the guest's multiplexed WebSocket for id with the subprotocol.
// ctx bounds the dial only. The caller sets the read limit and closes.
func (c *Client) Mux(ctx context.Context, id Identity, subprotocol string) (*websocket.Conn, error) {
	conn, res, err := websocket.Dial(ctx, "http://guest"+PathMux, &websocket.DialOptions{
		HTTPClient:      c.http,
		HTTPHeader:      c.authorization(id),
		Subprotocols:    []string{subprotocol},
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		if res != nil && res.StatusCode >= 400 && res.Body != nil {
			return nil, failure(res)
		}
		return nil, unreachable(err)
	}
	return conn, nil
}

func (c *Client) authorization(id Identity) http.Header {
	id.Session = c.session
	return http.Header{"Authorization": {Scheme + " " + c.signer.Sign(id, time.Now())}}
}

// exchange is one plain request to a guest.
type exchange struct {
	method, path string
	as           *Identity
	in, out      any           // JSON; nil: none
	limit        int64         // of the answer, in bytes
	timeout      time.Duration // for all of it
}

func (c *Client) call(ctx context.Context, id *Identity, method, path string, in, out any) error {
	return c.exchange(ctx, exchange{method, path, id, in, out, maxAnswer, callTimeout})
}

func (c *Client) exchange(ctx context.Context, x exchange) error {
	ctx, cancel := context.WithTimeout(ctx, x.timeout)
	defer cancel()
	var body io.Reader
	if x.in != nil {
		b, err := json.Marshal(x.in)
		if err != nil {
			return fmt.Errorf("encode %s %s: %w", x.method, x.path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, x.method, "http://guest"+x.path, body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", x.method, x.path, err)
	}
	if x.as != nil {
		req.Header = c.authorization(*x.as)
	}
	if x.in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil && x.method == http.MethodGet && dropped(err) {
		res, err = c.http.Do(req)
	}
	if err != nil {
		return unreachable(err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return failure(res)
	}
	if x.out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, x.limit)).Decode(x.out); err != nil {
		return unreachable(fmt.Errorf("answer to %s %s: %w", x.method, x.path, err))
	}
	return nil
}

// dropped says whether a connection ended before anything was answered. gVisor
// does that now and then to one that comes as its sandbox is thawed; the next
// stands.
func dropped(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

func unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return station.Errorf(station.ErrUnavailable, "guest_unreachable",
		"The session's guest does not answer; put the session to sleep and wake it again.").Because(err)
}

// kinds maps the guest's statuses back to sentinels; a guest that says anything
// else is treated as broken.
var kinds = map[int]error{
	400: station.ErrInvalid, 401: station.ErrUnauthenticated, 403: station.ErrForbidden, 404: station.ErrNotFound,
	409: station.ErrConflict, 429: station.ErrLimited, 503: station.ErrUnavailable, 507: station.ErrNoSpace,
}

func failure(res *http.Response) error {
	kind, ok := kinds[res.StatusCode]
	var f Failure
	err := json.NewDecoder(io.LimitReader(res.Body, 4<<10)).Decode(&f)
	if !ok || err != nil || f.Code == "" || f.Sentence == "" {
		return unreachable(fmt.Errorf("guest answered %d", res.StatusCode))
	}
	return station.Errorf(kind, f.Code, "%s", f.Sentence)
}

// Status is the HTTP status for an error that wraps a sentinel; 500 otherwise.
func Status(err error) int {
	for status, kind := range kinds {
		if errors.Is(err, kind) {
			return status
		}
	}
	return http.StatusInternalServerError
}
