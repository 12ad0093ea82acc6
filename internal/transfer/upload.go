package transfer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/station"
)

const (
	// atOnce is the size up to which a file goes with the request that begins it.
	atOnce = 1 << 20
	// piece is how much of a larger one a request has: proxies refuse endless ones.
	piece = 64 << 20
)

// Upload says what a file becomes.
type Upload struct {
	Path  files.Path
	Mode  uint32 // permission bits
	MTime time.Time
	// Sent hears how many bytes of the file have arrived in all; it may be nil.
	Sent func(n int64)
	// Begun keeps an upload's address until it is finished, so that another run of
	// the program goes on with it; it may be nil.
	Begun *Begun
}

func (u Upload) sent(n int64) {
	if u.Sent != nil {
		u.Sent(n)
	}
}

// metadata is tus's.
func (u Upload) metadata() string {
	pairs := [][2]string{{"path", u.Path.String()}, {"mode", "0" + strconv.FormatUint(uint64(u.Mode&0o777), 8)},
		{"mtime", u.MTime.UTC().Format(time.RFC3339Nano)}, {"replace", "overwrite"}}
	var b strings.Builder
	for _, p := range pairs {
		fmt.Fprintf(&b, ",%s %s", p[0], base64.StdEncoding.EncodeToString([]byte(p[1])))
	}
	return b.String()[1:]
}

func (u Upload) header(size int64) http.Header {
	return http.Header{"Tus-Resumable": {"1.0.0"}, "Upload-Length": {strconv.FormatInt(size, 10)}, "Upload-Metadata": {u.metadata()}}
}

// Upload sends a file of size bytes, which takes the place of one that is there. A
// connection that breaks is no error as long as it comes back.
func (c *Client) Upload(ctx context.Context, f io.ReaderAt, size int64, u Upload) (files.Entry, error) {
	if size > atOnce {
		return c.uploadPieces(ctx, f, size, u)
	}
	var res *http.Response
	err := c.repeat(ctx, func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		h := u.header(size)
		var body io.Reader
		if size > 0 {
			h.Set("Content-Type", "application/offset+octet-stream")
			body = io.NewSectionReader(f, 0, size)
		}
		res, err = c.send(ctx, http.MethodPost, uploadRoute, nil, h, body, size)
		if err == nil {
			res.Body.Close()
		}
		return err
	})
	if err != nil {
		return files.Entry{}, err
	}
	u.sent(size)
	return c.became(ctx, res, u.Path)
}

// became is what an upload has become.
func (c *Client) became(ctx context.Context, res *http.Response, p files.Path) (e files.Entry, err error) {
	if res != nil && json.Unmarshal([]byte(res.Header.Get(filesapi.HeaderEntry)), &e) == nil {
		return e, nil
	}
	return c.Stat(ctx, p) // an answer was lost on the way
}

// uploadPieces sends a large file, going on where it was whatever happens to the
// connection, the gateway or the helper.
func (c *Client) uploadPieces(ctx context.Context, f io.ReaderAt, size int64, u Upload) (files.Entry, error) {
	at, off := u.Begun.find(), int64(-1) // not known
	known := at != ""
	for a := (again{c: c}); ; {
		var res *http.Response
		var err error
		switch {
		case at == "":
			if at, err = c.begin(ctx, size, u); err == nil {
				off = 0
			}
		case off < 0:
			off, err = c.offset(ctx, at, size)
			if known && err != nil && !passes(err) || code(err) == "no_upload" {
				at, known, err = "", false, nil // too old, or of another server
				continue
			}
		default:
			var n int64
			if res, n, err = c.patch(ctx, f, size, at, off, u); n > off {
				off = n
				a.moved()
			}
			if err != nil {
				off = -1
			}
			if code(err) == "wrong_offset" {
				err = station.Errorf(station.ErrUnavailable, "wrong_offset", "The upload is written by another program, too; end that.")
			}
		}
		if err != nil {
			if err := a.next(ctx, err); err != nil {
				return files.Entry{}, err
			}
			continue
		}
		if off >= 0 {
			u.sent(off)
		}
		if off == size {
			u.Begun.forget()
			return c.became(ctx, res, u.Path)
		}
	}
}

// begin makes an upload and returns its path on the server.
func (c *Client) begin(ctx context.Context, size int64, u Upload) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	res, err := c.send(ctx, http.MethodPost, uploadRoute, nil, u.header(size), nil, 0)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	at, err := res.Location()
	if err != nil || !strings.HasPrefix(at.Path, uploadRoute+"/") {
		return "", station.Errorf(station.ErrUnavailable, "bad_answer", "The server did not say where to send the file; try again.")
	}
	u.Begun.keep(at.Path)
	return at.Path, nil
}

// offset asks how much has arrived.
func (c *Client) offset(ctx context.Context, at string, size int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	res, err := c.send(ctx, http.MethodHead, at, nil, http.Header{"Tus-Resumable": {"1.0.0"}}, nil, 0)
	if err != nil {
		return -1, err
	}
	defer res.Body.Close()
	return arrived(res, size)
}

func arrived(res *http.Response, size int64) (int64, error) {
	n, err := strconv.ParseInt(res.Header.Get("Upload-Offset"), 10, 64)
	if err != nil || n < 0 || n > size {
		return -1, station.Errorf(station.ErrUnavailable, "bad_answer", "The server did not say how much has arrived; try again.")
	}
	return n, nil
}

// patch sends the next piece and returns how much has arrived then.
func (c *Client) patch(ctx context.Context, f io.ReaderAt, size int64, at string, off int64, u Upload) (*http.Response, int64, error) {
	n := min(piece, size-off)
	h := http.Header{"Tus-Resumable": {"1.0.0"}, "Upload-Offset": {strconv.FormatInt(off, 10)},
		"Content-Type": {"application/offset+octet-stream"}, "Expect": {"100-continue"}}
	body := &counter{from: io.NewSectionReader(f, off, n), at: off, sent: u.sent}
	res, err := c.send(ctx, http.MethodPatch, at, nil, h, body, n)
	if rerr := body.failed(); rerr != nil { // the file's, not the connection's
		return nil, -1, fmt.Errorf("read the file: %w", rerr)
	}
	if err != nil {
		return nil, -1, err
	}
	defer res.Body.Close()
	off, err = arrived(res, size)
	return res, off, err
}

// counter says how far a file was read.
type counter struct {
	from io.Reader
	at   int64
	sent func(int64)

	mu  sync.Mutex // it may be read on after the answer
	err error
}

func (c *counter) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.at += int64(n)
	c.sent(c.at)
	if err != nil && !errors.Is(err, io.EOF) {
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
	}
	return n, err
}

// Begun is the file that remembers where an upload is on its server.
type Begun struct{ Path string }

func (b *Begun) find() string {
	if b == nil {
		return ""
	}
	at, err := os.ReadFile(b.Path)
	if err != nil || len(at) > 200 || !strings.HasPrefix(string(at), uploadRoute+"/") {
		return ""
	}
	return string(at)
}

// keep and forget are best effort: without, the file is sent from its beginning.
func (b *Begun) keep(at string) {
	if b != nil {
		_ = os.WriteFile(b.Path, []byte(at), 0o600)
	}
}

func (b *Begun) forget() {
	if b != nil {
		_ = os.Remove(b.Path)
	}
}
