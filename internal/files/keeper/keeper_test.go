package keeper

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/files/helper"
	"staithe/internal/hostproc"
	"staithe/internal/rootlesstest"
	"staithe/internal/station"
)

// This test's program is the helper too: the keeper starts it with one argument
// that no test's program has.
func TestMain(m *testing.M) {
	if os.Args[0] == "staithe-files" {
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		if err := helper.Main(log); err != nil {
			log.Error("ended", "err", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// bench is a keeper and one user's home.
type bench struct {
	*Keeper
	t    *testing.T
	data string
	home string
	ws   station.Workstation
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, data: t.TempDir(), ws: station.Workstation{ID: "abcdefghijkl", UIDRange: 3}}
	b.home = filepath.Join(b.data, "homes", string(b.ws.ID))
	if err := os.MkdirAll(b.home, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(b.home, station.SandboxUID, station.SandboxUID); err != nil {
			t.Fatal(err)
		}
	}
	b.again()
	t.Cleanup(func() {
		if err := b.End(context.Background(), b.ws.ID); err != nil {
			t.Error(err)
		}
	})
	return b
}

// again is the next gateway's keeper.
func (b *bench) again() {
	b.t.Helper()
	var err error
	b.Keeper, err = Open(b.data, Options{Binary: "/proc/self/exe", Version: "test", Idle: time.Minute}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.t.Fatal(err)
	}
}

// write has the helper write a file.
func (b *bench) write(name string) error {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return b.Dial(ctx, Home{Workstation: b.ws, Path: b.home})
	}}}
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPut, "http://files"+filesapi.PathContent+"?path="+url.QueryEscape(name), strings.NewReader("content"))
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

func (b *bench) record() hostproc.Process {
	b.t.Helper()
	rec, err := hostproc.ReadRecord[hostproc.Process](filepath.Join(b.dir, string(b.ws.ID), recordName))
	if err != nil || !rec.Alive() {
		b.t.Fatalf("the helper's record: %+v %v", rec, err)
	}
	return rec
}

// One helper serves all, also when many ask at once, and the next gateway.
func TestOneHelperForAll(t *testing.T) {
	b := newBench(t)
	var all sync.WaitGroup
	begin := make(chan struct{})
	for _, name := range strings.Split("abcdghijklmnopqrstuvwxyz", "") {
		all.Go(func() {
			<-begin
			if err := b.write(name); err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	all.Wait()
	first := b.record()
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(b.home, "a"), &st); err != nil || os.Geteuid() == 0 && st.Uid != station.SandboxUID {
		t.Errorf("of %d: %v", st.Uid, err)
	}
	b.again()
	if err := b.write("e"); err != nil || b.record() != first {
		t.Errorf("another helper: %+v, %v", b.record(), err)
	}
	// And without its record, as when a gateway was killed before it wrote it.
	record := filepath.Join(b.dir, string(b.ws.ID), recordName)
	if err := os.Rename(record, record+".kept"); err != nil {
		t.Fatal(err)
	}
	if err := b.write("f"); err != nil {
		t.Error(err)
	}
	if err := os.Rename(record+".kept", record); err != nil {
		t.Fatal(err)
	}
}

// A helper that was killed is started again by the next request; one that was
// ended is gone.
func TestKilledHelperIsStartedAgain(t *testing.T) {
	b := newBench(t)
	if err := b.write("a"); err != nil {
		t.Fatal(err)
	}
	first := b.record()
	if err := first.Kill(time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := b.write("b"); err != nil {
		t.Fatal(err)
	}
	second := b.record()
	if second == first {
		t.Error("it is the same")
	}
	if err := b.End(t.Context(), b.ws.ID); err != nil || second.Alive() {
		t.Errorf("it lives: %v", err)
	}
	if _, err := os.Stat(filepath.Join(b.dir, string(b.ws.ID))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// While a helper lives that cannot be reached, there is no second one: it would
// take what the first is making for left over.
func TestNoSecondHelperBesideALostOne(t *testing.T) {
	b := newBench(t)
	if err := b.write("a"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(b.dir, string(b.ws.ID))
	lost := b.record()
	for _, name := range []string{recordName, socketName} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.write("b"); !errors.Is(err, station.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if err := lost.Kill(time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := b.write("b"); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	_, err := b.Dial(t.Context(), Home{Workstation: station.Workstation{ID: "../evil"}, Path: b.home})
	if !errors.Is(err, station.ErrInvalid) {
		t.Errorf("%v", err)
	}
	_, err = b.Dial(t.Context(), Home{Workstation: b.ws, Path: filepath.Join(b.data, "none")})
	if !errors.Is(err, station.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if os.Geteuid() == 0 { // a home of somebody else, or of root
		if err := os.Chown(b.home, 0, 0); err != nil {
			t.Fatal(err)
		}
		if _, err = b.Dial(t.Context(), Home{Workstation: b.ws, Path: b.home}); !errors.Is(err, station.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	}
}

// TestRootless runs the others again in an account that is not root.
func TestRootless(t *testing.T) {
	rootlesstest.Run(t, rootlesstest.Again{Run: "^Test(OneHelper|Killed|NoSecond|Refusals).*$", NoSkips: true})
}

// A helper of another version is ended by the first who asks, and the next one
// answers.
func TestOldVersionEnds(t *testing.T) {
	b := newBench(t)
	if err := b.write("a"); err != nil {
		t.Fatal(err)
	}
	old := b.record()
	b.again()
	b.o.Version = "next"
	if err := b.write("b"); err != nil {
		t.Fatal(err)
	}
	if now := b.record(); now.PID == old.PID || old.Alive() {
		t.Errorf("%+v still serves", old)
	}
}

// Connections are used again, and one whose helper has ended is not in the way.
func TestClient(t *testing.T) {
	b := newBench(t)
	c := b.Client(Home{Workstation: b.ws, Path: b.home})
	for range 3 {
		if _, err := filesapi.Call[files.Entry](t.Context(), c, http.MethodPost, filesapi.PathFolders, nil, filesapi.Folder{Path: "d", Parents: true}); err != nil {
			t.Fatal(err)
		}
	}
	rec := b.record()
	if err := rec.End(0, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := filesapi.Call[files.Entry](t.Context(), c, http.MethodGet, filesapi.PathStat, url.Values{"path": {"d"}}, nil); err != nil {
		t.Error(err)
	}
	_, err := filesapi.Call[files.Entry](t.Context(), c, http.MethodGet, filesapi.PathStat, url.Values{"path": {"none"}}, nil)
	if p, ok := errors.AsType[*station.Problem](err); !ok || p.Code != "no_file" || !errors.Is(err, station.ErrNotFound) {
		t.Error(err)
	}
}

// A helper that has ended takes no request along that comes right after: also what
// has a body goes to the next one.
func TestRequestsAfterAHelperEnded(t *testing.T) {
	b := newBench(t)
	c := b.Client(Home{Workstation: b.ws, Path: b.home})
	for round := range 30 {
		// A pool of connections, so that one is taken before its end is known.
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				res, err := c.Do(t.Context(), filesapi.Request{Method: http.MethodGet, Path: filesapi.PathHealth})
				if err != nil {
					t.Error(err)
					return
				}
				_, err = io.Copy(io.Discard, res.Body)
				if err = errors.Join(err, res.Body.Close()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if err := b.record().End(0, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		for i := range 4 { // more than one of the pool
			res, err := c.Do(t.Context(), filesapi.Request{Method: http.MethodPut, Path: filesapi.PathContent, Query: url.Values{"path": {"f"}},
				Header: http.Header{"Expect": {"100-continue"}}, Body: struct{ io.Reader }{strings.NewReader("content")}, Length: 7})
			if err != nil {
				t.Fatalf("round %d, request %d: %v", round, i, err)
			}
			res.Body.Close()
			if _, err := filesapi.Call[files.Entry](t.Context(), c, http.MethodPost, filesapi.PathFolders, nil, filesapi.Folder{Path: "d", Parents: true}); err != nil {
				t.Fatalf("round %d, request %d: %v", round, i, err)
			}
		}
	}
}
