package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"staithe/internal/station"
)

// fetcher fetches layers into nameless files, taking a broken one up again by
// an HTTP range (RFC 9110, section 14).
type fetcher struct {
	*puller
	once sync.Once
	http *http.Client
	err  error
}

// stallTime is how long a connection may send nothing.
const stallTime = time.Minute

// errStalled is a connection that is open and silent.
var errStalled = errors.New("nothing came for a minute")

// login asks the registry once what it wants.
func (f *fetcher) login(ctx context.Context) (*http.Client, error) {
	f.once.Do(func() {
		repo := f.ref.Context()
		rt, err := transport.NewWithContext(ctx, repo.Registry, f.auth, transport.NewUserAgent(f.base, "staithe"), []string{repo.Scope(transport.PullScope)})
		if err != nil {
			f.err = f.explain(err)
			return
		}
		f.http = &http.Client{Transport: rt}
	})
	return f.http, f.err
}

// layer fetches one and returns it from its beginning.
func (f *fetcher) layer(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	client, err := f.login(ctx)
	if err != nil {
		return nil, err
	}
	file, err := f.store.tempFile()
	if err != nil {
		return nil, err
	}
	m, _ := ctx.Value(meterKey{}).(*meter)
	if m == nil {
		m = newMeter(nil)
	}
	m.step("downloading")
	if err := f.whole(ctx, client, d, file, m); err != nil {
		file.Close()
		return nil, diskFull(f.explain(err))
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// whole tries until all is there, or nothing more came for some tries.
func (f *fetcher) whole(ctx context.Context, client *http.Client, d v1.Descriptor, file *os.File, m *meter) error {
	var have int64
	b := &budget{limits: f.store.limits, disk: file}
	wait := f.opts.Retry
	for failed := 0; ; {
		before := have
		err := f.part(ctx, client, d, file, &have, b, m)
		if err == nil || ctx.Err() != nil || !worthRetry(err) {
			return errors.Join(err, ctx.Err())
		}
		if have > before {
			failed, wait = 0, f.opts.Retry
		}
		if failed++; failed >= tries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait *= 2
	}
}

// worthRetry says whether trying again may help.
func worthRetry(err error) bool {
	var p *station.Problem
	var te *transport.Error
	switch {
	case errors.As(err, &p), isFull(err):
		return false
	case errors.As(err, &te):
		return te.StatusCode >= 500 || te.StatusCode == http.StatusRequestTimeout
	}
	return true
}

// part asks for what is missing and appends what comes.
func (f *fetcher) part(ctx context.Context, client *http.Client, d v1.Descriptor, file *os.File, have *int64, b *budget, m *meter) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	repo := f.ref.Context()
	u := url.URL{Scheme: repo.Scheme(), Host: repo.RegistryStr(), Path: fmt.Sprintf("/v2/%s/blobs/%s", repo.RepositoryStr(), d.Digest)}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	if *have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", *have, d.Size-1))
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := transport.CheckError(res, http.StatusOK, http.StatusPartialContent); err != nil {
		return err
	}
	if res.StatusCode == http.StatusOK || *have == 0 { // it knows no ranges: from the beginning
		*have = 0
	}
	if _, err := file.Seek(*have, io.SeekStart); err != nil {
		return err
	}
	if err := file.Truncate(*have); err != nil {
		return err
	}
	stalled := time.AfterFunc(stallTime, func() { cancel(errStalled) })
	defer stalled.Stop()
	err = f.receive(res.Body, d, file, have, b, m, func() { stalled.Reset(stallTime) })
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}

func (f *fetcher) receive(r io.Reader, d v1.Descriptor, file *os.File, have *int64, b *budget, m *meter, alive func()) error {
	buf := make([]byte, 128<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			alive()
			if *have+int64(n) > d.Size {
				return wrongDigest(d.Digest.String())
			}
			if err := b.spend(int64(n)); err != nil {
				return err
			}
			if _, err := file.Write(buf[:n]); err != nil {
				return err
			}
			*have += int64(n)
			m.now.Done = *have
			m.moved()
		}
		switch {
		case errors.Is(err, io.EOF) && *have < d.Size:
			return io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
