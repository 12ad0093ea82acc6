package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/station"
	"staithe/internal/wire"
)

// apiTimeout bounds one request; a session's start is the longest.
const apiTimeout = 60 * time.Second

// api speaks to a server as a person's command line.
type api struct {
	base  string
	token string // empty: by the cookie of a login
	http  *http.Client
}

// credentials is what `staithe login` keeps.
type credentials struct {
	URL   string `json:"url"`
	Token string `json:"token"`
}

func credentialsPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the configuration folder: %w", err)
	}
	return filepath.Join(dir, "staithe", "credentials.json"), nil
}

// connect finds the server and the token: the environment first, else what
// `staithe login` kept. A token is never taken from the command line, where
// others could read it.
func connect() (*api, error) {
	base, token := os.Getenv("STAITHE_URL"), os.Getenv("STAITHE_TOKEN")
	if token == "" {
		path, err := credentialsPath()
		if err != nil {
			return nil, err
		}
		b, err := os.ReadFile(path)
		var c credentials
		if err == nil {
			err = json.Unmarshal(b, &c)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, station.Errorf(station.ErrUnauthenticated, "not_signed_in", "Not signed in: run `staithe login URL` first, or set STAITHE_URL and STAITHE_TOKEN.")
		case err != nil:
			return nil, station.Errorf(station.ErrInvalid, "bad_credentials", "%s cannot be read; run `staithe login URL` again.", path).Because(err)
		}
		if token = c.Token; base == "" {
			base = c.URL
		} else if strings.TrimRight(base, "/") != c.URL {
			return nil, station.Errorf(station.ErrUnauthenticated, "not_signed_in", "Not signed in to %s: run `staithe login %s` first.", base, base)
		}
	}
	if base == "" {
		base = "http://127.0.0.1:8080"
	}
	return newAPI(base, token)
}

func newAPI(base, token string) (*api, error) {
	base = strings.TrimRight(base, "/")
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" {
		return nil, station.Errorf(station.ErrInvalid, "bad_url", "%q is no server's address; give it as https://host or http://127.0.0.1:8080.", base)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &api{base: base, token: token, http: &http.Client{Jar: jar, Timeout: apiTimeout}}, nil
}

func (a *api) header() http.Header {
	h := http.Header{}
	if a.token != "" {
		h.Set("Authorization", "Bearer "+a.token)
	}
	return h
}

// call sends in as JSON and decodes the answer into out; either may be nil.
func (a *api) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+"/api/v1"+path, body)
	if err != nil {
		return err
	}
	req.Header = a.header()
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := a.http.Do(req)
	if err != nil {
		return a.unreachable(err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return problem(res)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return a.unreachable(err)
	}
	return nil
}

func (a *api) unreachable(err error) error {
	return station.Errorf(station.ErrUnavailable, "unreachable", "%s does not answer; check the address and that `staithe serve` runs there.", a.base).Because(err)
}

// problem reads an RFC 9457 document back into an error.
func problem(res *http.Response) error {
	var p struct{ Code, Detail string }
	err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&p)
	if err != nil || p.Detail == "" {
		return station.Errorf(station.ErrUnavailable, "bad_answer", "The server answered %s, without a reason; is it staithe?", res.Status)
	}
	kind := station.ErrInvalid
	if res.StatusCode >= 500 {
		kind = station.ErrUnavailable // it may pass: attach goes on trying
	}
	switch res.StatusCode {
	case http.StatusUnauthorized:
		kind = station.ErrUnauthenticated
	case http.StatusNotFound:
		kind = station.ErrNotFound
	case http.StatusConflict:
		kind = station.ErrConflict
	case http.StatusTooManyRequests:
		kind = station.ErrLimited
	}
	return station.Errorf(kind, p.Code, "%s", p.Detail)
}

// mux opens a session's WebSocket.
func (a *api) mux(ctx context.Context, session station.ID) (*websocket.Conn, error) {
	ws, res, err := websocket.Dial(ctx, a.base+"/ws/sessions/"+string(session), &websocket.DialOptions{
		HTTPHeader: a.header(), Subprotocols: []string{wire.Subprotocol}, CompressionMode: websocket.CompressionDisabled,
	})
	if err == nil {
		return ws, nil
	}
	if res != nil && res.StatusCode >= 400 && res.Body != nil {
		return nil, problem(res)
	}
	return nil, a.unreachable(err)
}
