package volume

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"staithe/internal/station"
)

// plant makes in dir what a hostile snapshot or a former user may have.
func plant(t *testing.T, dir, outside string) {
	t.Helper()
	for name, mode := range map[string]os.FileMode{"plain": 0o644, "suid": 0o755, "odd\xff\n": 0o600, "sub/deep": 0o400} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{os.Chmod(filepath.Join(dir, "suid"), 0o755|os.ModeSetuid|os.ModeSetgid), os.Symlink(outside, filepath.Join(dir, "out")),
		os.Chmod(filepath.Join(dir, "sub"), 0o755|os.ModeSetgid)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := syscall.Mknod(filepath.Join(dir, "disk"), syscall.S_IFBLK|0o666, 0x0800); err != nil {
			t.Fatal(err)
		}
	}
}

// tame checks that it is plain and the user's.
func tame(t *testing.T, v *Volumes, dir string, ws station.Workstation) {
	t.Helper()
	for name, want := range map[string]os.FileMode{"plain": 0o644, "suid": 0o755, "odd\xff\n": 0o600, "sub": os.ModeDir | os.ModeSetgid | 0o755,
		"sub/deep": 0o400, "out": os.ModeSymlink | 0o777} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%q is %v, %v", name, info, err)
			continue
		}
		if st := info.Sys().(*syscall.Stat_t); v.own && (int(st.Uid) != v.owner(ws) || int(st.Gid) != v.owner(ws)) {
			t.Errorf("%q belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "disk")); err == nil {
		t.Error("the device is there")
	}
}

func TestAbuse26_StagedIsTamed(t *testing.T) {
	v := open(t, t.TempDir())
	ws := station.Workstation{ID: station.NewID(), User: station.NewID(), UIDRange: 5}
	if err := v.Create(t.Context(), ws); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	id := station.NewID()
	dir, err := v.Stage(ws, id)
	if err != nil {
		t.Fatal(err)
	}
	plant(t, dir, outside)
	removed, err := v.Tame(t.Context(), ws, id)
	if err != nil || os.Geteuid() == 0 && removed != 1 {
		t.Errorf("%d removed, %v", removed, err)
	}
	tame(t, v, dir, ws)
	if info, err := os.Stat(outside); err != nil || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
		t.Errorf("through the link: %v %v", info, err)
	}
	// A link that the user put on the way leads out: nothing is moved there.
	if err := os.Symlink(outside, filepath.Join(v.Path(ws), "way")); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"way/x", "../x", "/x"} {
		if err := v.Adopt(ws, id, to); err == nil {
			t.Errorf("it was moved to %q", to)
		}
	}
	if err := v.Adopt(ws, id, "here"); err != nil {
		t.Fatal(err)
	}
	tame(t, v, filepath.Join(v.Path(ws), "here"), ws)
	if all, err := v.AllStaged(); err != nil || len(all) > 0 || v.Staged(id) {
		t.Errorf("still staged: %v, %v", all, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside: %v %v", entries, err)
	}
}

func TestUntrash(t *testing.T) {
	v := open(t, t.TempDir())
	old := station.Workstation{ID: station.NewID(), User: station.NewID(), UIDRange: 5}
	now := station.Workstation{ID: station.NewID(), User: station.NewID(), UIDRange: 6}
	for _, ws := range []station.Workstation{old, now} {
		if err := v.Create(t.Context(), ws); err != nil {
			t.Fatal(err)
		}
	}
	plant(t, v.Path(old), t.TempDir())
	at := time.Unix(1_700_000_000, 0)
	if err := v.Trash(t.Context(), old, at); err != nil {
		t.Fatal(err)
	}
	list, err := v.Trashed()
	if err != nil || len(list) != 1 || list[0].Workstation != old.ID || !list[0].At.Equal(at) {
		t.Fatalf("%+v %v", list, err)
	}
	for _, name := range []string{"", "..", "../homes/" + string(now.ID), string(old.ID), string(old.ID) + "-1"} {
		if _, err := v.Untrash(t.Context(), name, now); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
	folder, err := v.Untrash(t.Context(), list[0].Name, now)
	if err != nil {
		t.Fatal(err)
	}
	tame(t, v, filepath.Join(v.Path(now), folder), now)
	if list, err := v.Trashed(); err != nil || len(list) > 0 {
		t.Errorf("still in the trash: %+v %v", list, err)
	}
}
