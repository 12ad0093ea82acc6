package gateway

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"staithe/internal/files/filesapi"
	"staithe/internal/station"
	"staithe/internal/volume"
	"staithe/internal/wire"
)

// answers is what an operation answers with when it is well, by status.
type answers map[int]map[string]*huma.MediaType

// streamed adds an operation that writes its answer itself, once who may is known.
// also is what it refuses with besides what all of its kind do.
func streamed[I any](a api, method, path, id, summary string, do func(*stream, *I) error, good answers, also ...int) {
	also = append(also, http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusTooManyRequests, http.StatusGatewayTimeout)
	op := huma.Operation{Method: method, Path: prefix + path, OperationID: id, Summary: summary, Errors: refusals(method, path, homeFiles, also),
		DefaultStatus: slices.Min(slices.Collect(maps.Keys(good))), MaxBodyBytes: maxBody, Security: signedIn, Middlewares: huma.Middlewares{a.g.admit(homeFiles)}, Responses: map[string]*huma.Response{}}
	for status, content := range good {
		op.DefaultStatus = min(status, max(op.DefaultStatus, status))
		op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: content}
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		who, _ := ctx.Value(callerKey{}).(caller)
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			r, w := humago.Unwrap(hc)
			s, err := a.g.stream(w, r.WithContext(ctx), who)
			if err == nil {
				defer s.end()
				if err = do(s, in); err != nil {
					s.hear()
				}
			}
			if err != nil {
				a.g.refuse(w, r, err)
			}
		}}, nil
	})
}

// stream is a request that may take long: it ends when its right does, and when
// nothing moves any more, but not by the clock.
type stream struct {
	g      *Gateway
	w      http.ResponseWriter
	r      *http.Request // its context ends when the caller's right does
	who    caller
	client *filesapi.Client    // of the user's helper; nil: not asked for yet
	room   *volume.Reservation // nil: nothing is written
	body   *arriving           // nil: nobody asked for the body
	// control sets deadlines and flushes.
	control *http.ResponseController
	end     func()
	ended   <-chan struct{} // closed when the right or the server ends
}

func (g *Gateway) stream(w http.ResponseWriter, r *http.Request, who caller) (*stream, error) {
	l, err := g.live.addStream(who.Credential)
	if err != nil {
		return nil, err
	}
	// Again, now that a revocation would find it: the first check may be older.
	if err := g.auth.Valid(r.Context(), who.Credential); err != nil {
		g.live.remove(l)
		return nil, err
	}
	s := &stream{g: g, w: w, who: who, ended: l.ended, control: http.NewResponseController(w)}
	// A client may take long for its answer; one that is gone is found by the writes.
	// The deadline of its body stays: http.Server ends it with the body, arriving has
	// its own, and a body that nobody reads must not keep the connection.
	ctx, cancel := context.WithCancelCause(r.Context())
	s.r = r.WithContext(ctx)
	done := make(chan struct{})
	go func() { // ends with the request
		select {
		case <-l.ended:
			if l.why.code != wire.CloseGoingAway { // at the server's end requests have some time
				cancel(station.Errorf(station.ErrUnauthenticated, "ended", "Your login or token has ended; sign in again."))
			}
		case <-done:
		}
	}()
	s.end = func() {
		close(done)
		cancel(nil)
		if s.room != nil {
			s.room.Close()
		}
		g.live.remove(l)
	}
	return s, nil
}

func (s *stream) helper() (_ *filesapi.Client, err error) {
	if s.client == nil {
		s.client, err = s.g.helper(s.r.Context(), s.who.User.ID)
	}
	return s.client, err
}

// reserve sets room aside for what the request will write; wrote says that it is
// written, and the request's end gives back what is not.
func (s *stream) reserve(bytes, files int64) (err error) {
	// The home is made by asking for its helper.
	if _, err := s.helper(); err != nil {
		return err
	}
	s.room, err = s.g.files.Reserve(s.r.Context(), s.who.User.ID, bytes, files)
	return err
}

// do asks the helper. A right that ended is the error, and not what followed.
func (s *stream) do(q filesapi.Request) (*http.Response, error) {
	helper, err := s.helper()
	if err != nil {
		return nil, err
	}
	res, err := helper.Do(s.r.Context(), q)
	return res, s.cause(err)
}

func (s *stream) cause(err error) error {
	if p, ok := errors.AsType[*station.Problem](context.Cause(s.r.Context())); ok && err != nil {
		return p
	}
	return err
}

// send hands an answer on. What fails from here on cuts the connection.
func (s *stream) send(status int, from io.Reader) {
	s.w.WriteHeader(status)
	if s.r.Method == http.MethodHead {
		return
	}
	if _, err := io.Copy(s.w, from); err != nil {
		s.g.log.Debug("a stream was cut off", "request", s.who.id, "err", err)
		panic(http.ErrAbortHandler)
	}
}

// attachment sets what makes a download one, whatever is in it: no browser shows
// it as a page of this origin.
func (s *stream) attachment(name string) {
	h := s.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", disposition(name))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
}

func pass(to, from http.Header, names ...string) {
	for _, name := range names {
		if v := from.Values(name); len(v) > 0 {
			to[name] = v
		}
	}
}

// graceForBody is how long a client that still sends is listened to after its
// request was refused: else it might not hear the refusal.
const graceForBody = 5 * time.Second

// drained is how many bytes of such a body are taken and thrown away.
const drained = 16 << 20

// roomStep is how much room is asked for at once for a body without a length.
const roomStep = 256 << 10

const block = 4096 // bytes of one piece of the disk

// blocks is what a file of so many bytes takes of the disk.
func blocks(bytes int64) int64 {
	return (bytes + block - 1) / block * block
}

// arriving is a body that may take as long as it likes while bytes come. The
// stream has room for it, which it keeps until written.
type arriving struct {
	s    *stream
	from io.Reader
	// grows: the length is not known, and room is asked for as it comes.
	grows bool

	unhook  func() bool
	stopped atomic.Bool
	mu      sync.Mutex // held while it is read
	n       int64      // bytes that were read
	err     error      // why reading ended, also io.EOF
}

// arriving is the request's body. When the stream ends before it, who reads it is
// not left waiting for the client. Call stop.
func (s *stream) arriving() *arriving {
	b := &arriving{s: s, from: s.r.Body, grows: s.r.ContentLength < 0}
	b.unhook = context.AfterFunc(s.r.Context(), func() {
		b.stopped.Store(true)
		_ = s.control.SetReadDeadline(time.Unix(1, 0)) // another server has its own
	})
	s.body = b
	return b
}

// hear takes what a client still sends that is refused before anything of its body
// was looked at: else it might not hear the refusal.
func (s *stream) hear() {
	if s.body == nil && s.r.ContentLength != 0 {
		s.arriving().stop(true)
	}
}

func (b *arriving) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil { // else a deadline would end what is done with the body
		_ = b.s.control.SetReadDeadline(time.Now().Add(b.s.g.timing.stall)) // another server has its own
	}
	if b.stopped.Load() {
		return 0, errors.New("the request is over")
	}
	if b.err == nil && b.grows && b.s.room.Left() < b.n+int64(len(p)) {
		b.err = b.s.room.Grow(b.s.r.Context(), roomStep, 0)
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.Read(p)
	b.n, b.err = b.n+int64(n), err
	return n, err
}

// written says that what was read is on the disk, and more bytes and files
// besides. It is said once the helper answered: a measurement that begins while
// it still writes might miss what was said to be there before.
func (b *arriving) written(more, files int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.s.room.Wrote(min(b.s.room.Left(), blocks(b.n)+more), files)
}

// stop sees to it that nobody reads the body any more: what reads for the helper
// may go on after that answered. It returns why the body did not come in whole,
// nil when that is not the client's doing. refused says that the client is told
// something else than it hopes for, and may be sending still.
func (b *arriving) stop(refused bool) error {
	b.unhook()
	b.stopped.Store(true)
	if !b.mu.TryLock() { // it is being read
		_ = b.s.control.SetReadDeadline(time.Now().Add(graceForBody))
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	full, ours := errors.AsType[*station.Problem](b.err)
	switch {
	case errors.Is(b.err, io.EOF):
		return nil
	case ours:
		b.drain()
		return full
	case errors.Is(b.err, os.ErrDeadlineExceeded):
		return &problem{Status: http.StatusRequestTimeout, Code: codes[http.StatusRequestTimeout],
			Detail: "The file stopped coming; what was there before is untouched. Send it again."}
	case b.err != nil:
		return station.Errorf(station.ErrInvalid, "cut_off",
			"The file did not arrive whole; what was there before is untouched. Send it again.")
	}
	if refused {
		b.drain()
	}
	return nil
}

// drain takes what a client still sends, for a while.
func (b *arriving) drain() {
	if b.s.r.Header.Get("Expect") != "" {
		return // it waits for leave to send, or knows how to stop
	}
	_ = b.s.control.SetReadDeadline(time.Now().Add(graceForBody))
	_, _ = io.CopyN(io.Discard, b.from, drained) // as much as comes
}
