package volume

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"staithe/internal/station"
)

func open(t *testing.T, data string) *Volumes {
	t.Helper()
	v, err := Open(data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func TestHomeLife(t *testing.T) {
	data := t.TempDir()
	v := open(t, data)
	ws := station.Workstation{ID: station.NewID(), User: station.NewID(), UIDRange: 5}
	for range 2 { // the second finds it there
		if err := v.Create(t.Context(), ws); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Lstat(v.Path(ws))
	if err != nil || info.Mode() != os.ModeDir|0o700 {
		t.Fatalf("home: %v %v", info, err)
	}
	if os.Geteuid() == 0 {
		want := uint32(station.SandboxUID)
		if err := v.idmapped(); err != nil {
			t.Log("no idmapped mounts here: ", err)
			want = uint32(station.HostUID(5, station.SandboxUID))
		}
		for _, path := range append([]string{v.Path(ws)}, files(t, v.Path(ws))...) {
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if st := info.Sys().(*syscall.Stat_t); st.Uid != want || st.Gid != want {
				t.Errorf("%s belongs to %d:%d, want %d", path, st.Uid, st.Gid, want)
			}
		}
	}

	now := time.Unix(1_800_000_000, 0)
	for range 2 { // made anew and trashed again in the same second
		if err := v.Create(t.Context(), ws); err != nil {
			t.Fatal(err)
		}
		if err := v.Trash(t.Context(), ws, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Trash(t.Context(), ws, now); err != nil {
		t.Fatal("trash of nothing:", err)
	}
	trash := filepath.Join(data, "trash")
	if n := len(files(t, trash)); n != 2 {
		t.Fatalf("%d homes in the trash, want 2", n)
	}
	if err := v.Purge(t.Context(), now.Add(TrashLife)); err != nil || len(files(t, trash)) != 2 {
		t.Fatal("purged too early", err)
	}
	if err := v.Purge(t.Context(), now.Add(TrashLife+time.Minute)); err != nil || len(files(t, trash)) != 0 {
		t.Fatal("not purged:", err, files(t, trash))
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, filepath.Join(dir, e.Name()))
	}
	return out
}

// A purge walks what a hostile user left; no link in it leads outside.
func TestPurgeFollowsNoLink(t *testing.T) {
	data, outside := t.TempDir(), t.TempDir()
	v := open(t, data)
	precious := filepath.Join(outside, "precious")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	ws := station.Workstation{ID: station.NewID()}
	if err := v.Create(t.Context(), ws); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"folder": outside, "file": precious, "up": "../../../.."} {
		if err := os.Symlink(target, filepath.Join(v.Path(ws), name)); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	if err := v.Trash(t.Context(), ws, now); err != nil {
		t.Fatal(err)
	}
	if err := v.Purge(t.Context(), now.Add(2*TrashLife)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error("a link was followed:", err)
	}
}

// A home that was swapped for a link is not taken for a home.
func TestCreateRefusesLink(t *testing.T) {
	v := open(t, t.TempDir())
	ws := station.Workstation{ID: station.NewID()}
	outside := t.TempDir()
	if err := os.Symlink(outside, v.Path(ws)); err != nil {
		t.Fatal(err)
	}
	if err := v.Create(t.Context(), ws); !errors.Is(err, station.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if len(files(t, outside)) != 0 {
		t.Error("something was written through the link")
	}
}

// Names that normalise alike are refused: homes are named by ids, and only by
// whole ones.
func TestAbuse17_WorkstationNamesAreNeverFolded(t *testing.T) {
	data := t.TempDir()
	v := open(t, data)
	for _, id := range []station.ID{"", ".", "..", "a.b", "a-b", "ABCDEFGHIJKL", "abcdefghijk", "abcdefghijklm", "abcdefghijk\u0131",
		"abcdef/ghijk", "abcdefghijk\x00", "../homes/abc", "аbcdefghijkl", "abcdefghijk "} {
		ws := station.Workstation{ID: id}
		if err := v.Create(t.Context(), ws); !errors.Is(err, station.ErrInvalid) {
			t.Errorf("Create(%+q): %v", id, err)
		}
		if err := v.Trash(t.Context(), ws, time.Now()); !errors.Is(err, station.ErrInvalid) {
			t.Errorf("Trash(%+q): %v", id, err)
		}
	}
	for _, r := range []int{-1, station.MaxUIDRange + 1} {
		if err := v.Create(t.Context(), station.Workstation{ID: station.NewID(), UIDRange: r}); !errors.Is(err, station.ErrInvalid) {
			t.Errorf("range %d: %v", r, err)
		}
	}
	if left := files(t, filepath.Join(data, "homes")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A full disk is said as such and leaves no half home.
func TestCreateOnFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	data := t.TempDir()
	if err := syscall.Mount("small", data, "tmpfs", 0, "size=64k,nr_inodes=64"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	v := open(t, data)
	filler, err := os.Create(filepath.Join(data, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write([]byte(strings.Repeat("x", 4096)))
	}
	filler.Close()
	err = v.Create(t.Context(), station.Workstation{ID: station.NewID()})
	if !errors.Is(err, station.ErrNoSpace) {
		t.Fatalf("got %v", err)
	}
	if left := files(t, filepath.Join(data, "homes")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
