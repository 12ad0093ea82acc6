package gateway

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/files/helper"
	"staithe/internal/files/watch"
	"staithe/internal/station"
	"staithe/internal/store"
	"staithe/internal/volume"
	"staithe/internal/volume/git"
)

// testFiles serves each user's files from a folder, with the helper's own
// handler on a socket, in this process.
type testFiles struct {
	t       testing.TB
	dir     string
	volumes *volume.Volumes
	store   *store.Store
	limit   atomic.Int64 // of every home, in bytes

	mu      sync.Mutex
	clients map[station.ID]*filesapi.Client
	watcher *watch.Watcher
}

func withFiles(f **testFiles) setting {
	return func(o *Options, _ *timing) { o.Files = *f }
}

// newFilesBench is a bench whose users have files.
func newFilesBench(t testing.TB, settings ...setting) (*bench, *testFiles) {
	t.Helper()
	f := &testFiles{t: t, dir: t.TempDir(), clients: map[station.ID]*filesapi.Client{}}
	var err error
	if f.volumes, err = volume.Open(f.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.volumes.Close() })
	b := newBench(t, append([]setting{withFiles(&f)}, settings...)...)
	f.store = b.store
	return b, f
}

// Git is Files'.
func (f *testFiles) Git(_ context.Context, _ station.ID, folder []byte) (git.Status, error) {
	return git.Status{Repository: folder, Branch: "a\x1b[31mb", Entries: []git.Entry{{Path: []byte("d/a\n\xff"), Code: " M"}}}, nil
}

// Watch is Files'.
func (f *testFiles) Watch(ctx context.Context, user station.ID, below files.Path) (FileChanges, error) {
	if _, err := f.Helper(ctx, user); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watcher == nil {
		var err error
		if f.watcher, err = watch.Open(filepath.Join(f.dir, "homes"), slog.New(slog.DiscardHandler)); err != nil {
			return nil, err
		}
		f.t.Cleanup(func() { f.watcher.Close() })
	}
	return f.watcher.Watch(ctx, user, f.home(user), below)
}

// home is a user's folder.
func (f *testFiles) home(user station.ID) string {
	f.t.Helper()
	ws, err := f.store.Workstation(f.t.Context(), user)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.volumes.Path(ws)
}

// Reserve is Files'.
func (f *testFiles) Reserve(ctx context.Context, user station.ID, bytes, files int64) (*volume.Reservation, error) {
	ws, err := f.store.Workstation(ctx, user)
	if err != nil {
		return nil, err
	}
	if err := f.volumes.SetQuota(ctx, ws, f.limit.Load()); err != nil {
		return nil, err
	}
	return f.volumes.Reserve(ctx, ws, 0, bytes, files)
}

// Helper is Files'.
func (f *testFiles) Helper(ctx context.Context, user station.ID) (*filesapi.Client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.clients[user]; c != nil {
		return c, nil
	}
	ws, err := f.store.Workstation(ctx, user)
	if err != nil {
		return nil, err
	}
	if err := f.volumes.Create(ctx, ws); err != nil {
		return nil, err
	}
	home, err := files.Open(f.volumes.Path(ws), files.Options{Home: "/home/dev"})
	if err != nil {
		return nil, err
	}
	f.t.Cleanup(func() { home.Close() })
	ln, err := net.Listen("unix", filepath.Join(f.dir, string(user)+".sock"))
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: helper.Handler(home, filesapi.Health{}, slog.New(slog.DiscardHandler))}
	go srv.Serve(ln) // ends with Close
	f.t.Cleanup(func() { srv.Close() })
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", ln.Addr().String())
	}}
	f.t.Cleanup(tr.CloseIdleConnections)
	f.clients[user] = filesapi.NewClient(tr, "files")
	return f.clients[user], nil
}

const filesAt = prefix + filesPath

// at is a path's query, with more pairs after it.
func at(path string, more ...string) string {
	q := url.Values{"path": {path}}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return "?" + q.Encode()
}

// put writes a file over HTTP.
func (br *browser) put(path, content string, header ...string) reply {
	br.b.t.Helper()
	req, err := http.NewRequest(http.MethodPut, br.b.base+filesAt+"/content"+at(path), strings.NewReader(content))
	if err != nil {
		br.b.t.Fatal(err)
	}
	for k, v := range br.header {
		req.Header[k] = v
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := br.http.Do(req)
	if err != nil {
		br.b.t.Fatal(err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil {
		br.b.t.Fatal(err)
	}
	br.b.documented(http.MethodPut, filesAt+"/content", res.StatusCode)
	return reply{res, out}
}

// until waits for something to become true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for tick := time.NewTicker(20 * time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it did not come to be: %s", what)
		}
	}
}
