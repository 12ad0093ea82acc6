package restore

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/files/filesapi"
	"staithe/internal/files/helper"
	"staithe/internal/files/keeper"
	"staithe/internal/station"
	"staithe/internal/volume"
	"staithe/internal/volume/jail"
	"staithe/internal/volume/restic"
)

// This test's program is also the files helper, and the launcher of jails.
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case "staithe-files":
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		if err := helper.Main(log); err != nil {
			log.Error("ended", "err", err)
			os.Exit(1)
		}
		os.Exit(0)
	case "staithe-backup":
		os.Exit(jail.Main())
	}
	if spec := os.Getenv(serverEnv); spec != "" {
		var v victim
		err := json.Unmarshal([]byte(spec), &v)
		if err == nil {
			err = v.serve()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// host is a Server with one user, who has a home and a repository.
type host struct {
	home    string
	user    station.ID
	ws      station.Workstation
	volumes *volume.Volumes
	keeper  *keeper.Keeper
	repo    *restic.Repo

	mu      sync.Mutex
	before  int    // snapshots that were asked for before a restore
	unsaved string // a path that snapshots leave out
	// fetching is called before something is fetched, gate before the helper is
	// asked for anything; nil: not.
	fetching func()
	gate     func(context.Context) error
}

// set sets what is called.
func (b *host) set(fetching func(), gate func(context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fetching, b.gate = fetching, gate
}

// noSnapshotID is known not to be there.
const noSnapshotID = "00000000"

// bench is a host's restores.
type bench struct {
	*Manager
	*host
	t       *testing.T
	data    string
	options restic.Options
}

func newBench(t *testing.T) *bench {
	t.Helper()
	program, _, err := restic.Find(t.Context())
	if err == nil {
		err = jail.Check()
	}
	if err != nil {
		t.Skip("SKIPPED, restic: ", err)
	}
	b := &bench{t: t, data: t.TempDir(), host: &host{user: station.NewID()}}
	b.ws = station.Workstation{ID: station.NewID(), User: b.user, UIDRange: 3}
	if b.volumes, err = volume.Open(b.data); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.volumes.Close() })
	b.home = b.volumes.Path(b.ws)
	if err := b.volumes.Create(t.Context(), b.ws); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(b.home, ".local/share"), 0o700); err != nil { // so that staging adds nothing that shows
		t.Fatal(err)
	}
	b.own()
	b.options = restic.Options{Program: program, Launcher: "/proc/self/exe", Key: "secret-of-the-test", Host: "test",
		Path: filepath.Join(b.data, "repo"), Cache: filepath.Join(b.data, "cache"), Lock: filepath.Join(b.data, "repo.lock")}
	for _, d := range []string{b.options.Path, b.options.Cache} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if b.repo, err = restic.Open(b.options); err == nil {
		err = b.repo.Init(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	b.keeper, err = keeper.Open(b.data, keeper.Options{Binary: "/proc/self/exe", Version: "test", Idle: time.Minute}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.keeper.End(context.Background(), b.ws.ID); err != nil {
			t.Error(err)
		}
	})
	b.again()
	return b
}

// again is the next server's restores.
func (b *bench) again() {
	b.t.Helper()
	var err error
	if b.Manager, err = New(Options{Data: b.data, Server: b.host, Volumes: b.volumes, Log: slog.New(slog.NewTextHandler(b.t.Output(), nil))}); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(b.Manager.Close)
}

func (b *host) Workstation(context.Context, station.ID) (station.Workstation, error) {
	return b.ws, nil
}

func (b *host) Repository(_ context.Context, _ station.Workstation, snapshot string) (Repository, error) {
	if snapshot == noSnapshotID {
		return nil, NoSnapshot()
	}
	return b.repo, nil
}

func (b *host) Helper(ctx context.Context, _ station.ID) (*filesapi.Client, error) {
	b.mu.Lock()
	gate := b.gate
	b.mu.Unlock()
	if gate != nil {
		if err := gate(ctx); err != nil {
			return nil, err
		}
	}
	return b.keeper.Client(keeper.Home{Workstation: b.ws, Path: b.home, Inside: "/home/ada"}), nil
}

func (b *host) Reserve(ctx context.Context, _ station.ID, bytes, files int64) (*volume.Reservation, error) {
	b.mu.Lock()
	fetching := b.fetching
	b.mu.Unlock()
	if fetching != nil {
		fetching()
	}
	return b.volumes.Reserve(ctx, b.ws, 0, bytes, files)
}

func (b *host) LeftOut(_ station.Workstation, path string) bool {
	return b.unsaved != "" && path == b.unsaved
}

func (b *host) Before(context.Context, station.Workstation) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before++
	return nil
}

// put writes a file of the user's.
func (b *bench) put(name, content string) {
	b.t.Helper()
	b.plant(name, content)
	b.own()
}

// plant writes a file; own comes after it.
func (b *bench) plant(name, content string) {
	b.t.Helper()
	p := filepath.Join(b.home, name)
	err := os.MkdirAll(filepath.Dir(p), 0o755)
	if err == nil {
		err = os.WriteFile(p, []byte(content), 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// own makes all in the home the user's, as far as this account may.
func (b *bench) own() {
	if os.Geteuid() != 0 {
		return
	}
	if out, err := exec.Command("chown", "-hR", "1000:1000", b.home).CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
}

func (b *bench) get(name string) string {
	c, err := os.ReadFile(filepath.Join(b.home, name))
	if err != nil {
		return "(none)"
	}
	return string(c)
}

func (b *bench) snapshot() string {
	b.t.Helper()
	sum, err := b.repo.Backup(b.t.Context(), restic.BackupRequest{Source: b.home, Of: string(b.ws.ID)}, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return sum.ID
}

// ended waits for a restore's end.
func (b *bench) ended(id string) station.Restore {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	for {
		r, err := b.Get(ctx, b.user, id)
		if err != nil {
			b.t.Fatal(err)
		}
		if r.State != "running" && !b.Running(b.ws.ID) {
			return r
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("it does not end: %+v", r)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (b *bench) restore(snapshot string, q station.RestoreRequest) station.Restore {
	b.t.Helper()
	r, err := b.Start(b.t.Context(), b.user, snapshot, q)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.ended(r.ID)
}

// sketch is a tree by path: all that a restore should bring back.
func sketch(t *testing.T, top string) map[string]string {
	t.Helper()
	out := map[string]string{}
	first := map[uint64]string{}
	var walk func(rel string)
	walk = func(rel string) {
		entries, err := os.ReadDir(filepath.Join(top, rel))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			p := filepath.Join(rel, e.Name())
			if p == ".local/share/staithe" || p == ".local/share/Trash" {
				continue
			}
			out[p] = describe(t, filepath.Join(top, p), p, first)
			if e.IsDir() {
				walk(p)
			}
		}
	}
	walk(".")
	return out
}

func describe(t *testing.T, full, rel string, first map[uint64]string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(full, &st); err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("%o %d:%d %d.%09d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
	switch fs.FileMode(st.Mode) & unix.S_IFMT {
	case unix.S_IFREG:
		c, err := os.ReadFile(full)
		if err != nil {
			t.Fatal(err)
		}
		line += fmt.Sprintf(" %d %.40q", len(c), c)
		if st.Nlink > 1 {
			if first[st.Ino] == "" {
				first[st.Ino] = rel
			}
			line += " = " + first[st.Ino]
		}
		value := make([]byte, 64)
		if n, err := unix.Getxattr(full, "user.note", value); err == nil {
			line += fmt.Sprintf(" note %q", value[:n])
		}
	case unix.S_IFLNK:
		target, err := os.Readlink(full)
		if err != nil {
			t.Fatal(err)
		}
		line = fmt.Sprintf("%o %d:%d -> %s", st.Mode, st.Uid, st.Gid, target)
	}
	return line
}

// same compares sketches; a folder's time only where it is asked for.
func same(t *testing.T, got, want map[string]string, folderTimes bool) {
	t.Helper()
	trim := func(s string) string {
		if f := strings.Fields(s); !folderTimes && strings.HasPrefix(s, "4") && len(f) == 3 {
			return f[0] + " " + f[1]
		}
		return s
	}
	for p, w := range want {
		if g := got[p]; trim(g) != trim(w) {
			t.Errorf("%q is %q, wanted %q", p, g, w)
		}
	}
	for p, g := range got {
		if _, ok := want[p]; !ok {
			t.Errorf("%q is there: %q", p, g)
		}
	}
}
