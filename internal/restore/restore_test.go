package restore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// furnish puts into the home everything that one may have.
func (b *bench) furnish(top string) {
	b.t.Helper()
	b.put(top+"/file", "content")
	b.put(top+"/sub/deep/er", "deep")
	b.put(top+"/bad\xff\n %41", "odd")
	b.put(top+"/$(touch pwned)", "")
	b.put(top+"/-rf", "")
	b.put(top+"/[a]*?\\", "glob")
	p := func(name string) string { return filepath.Join(b.home, top, name) }
	sparse, err := os.Create(p("sparse"))
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = sparse.WriteAt([]byte("end"), 4<<20)
	for _, e := range []error{err, sparse.Close(), os.Mkdir(p("empty"), 0o700), os.Symlink("../file\n€", p("sub/link")),
		os.Symlink("/nowhere", p("absolute")), os.Link(p("file"), p("sub/hard")), unix.Mkfifo(p("fifo"), 0o640),
		os.Chmod(p("sub/deep/er"), 0o751), os.Chmod(p("sub"), 0o2755)} {
		if e != nil {
			b.t.Fatal(e)
		}
	}
	_ = unix.Setxattr(p("file"), "user.note", []byte("a\x00b"), 0) // where the file system has them
	b.own()
	at := time.Unix(1_600_000_000, 123456789)
	for _, name := range []string{"file", "sub/deep/er", "sub/deep", "empty", "sub", "."} {
		if err := os.Chtimes(p(name), at, at); err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestWholeHomeInPlaceAndUndo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.furnish("work")
	b.unsaved = "left"
	snapshot := b.snapshot()
	then := sketch(t, b.home)
	b.put("left/out", "never saved")
	b.put("work/file", "changed, and its other name too")
	b.put("work/new", "came later")
	_ = os.RemoveAll(filepath.Join(b.home, "work/sub"))
	_ = os.Chmod(filepath.Join(b.home, "work/empty"), 0o755)
	now := sketch(t, b.home)

	q := station.RestoreRequest{Path: ".", Where: "in_place", Exact: true}
	preview, err := b.Preview(t.Context(), b.user, snapshot, q)
	if err != nil || preview.Replace != 2 || preview.Trash != 1 || preview.Adds != 5 || preview.Bytes != int64(len("content")*2+len("deep")) || preview.Refused != "" {
		t.Errorf("%+v %v", preview, err)
	}
	same(t, sketch(t, b.home), now, false)

	r := b.restore(snapshot, q)
	if r.State != "done" || !r.Undo || r.Trouble != "" || b.before != 1 {
		t.Fatalf("%+v, %d before", r, b.before)
	}
	then["left"], then["left/out"] = now["left"], now["left/out"]
	same(t, sketch(t, b.home), then, false)

	r, err = b.Undo(t.Context(), b.user, r.ID)
	if err != nil || r.State != "undone" || r.Undo || r.Trouble != "" {
		t.Fatalf("%+v %v", r, err)
	}
	same(t, sketch(t, b.home), now, false)
	if entries, err := os.ReadDir(filepath.Join(b.data, "homes")); err != nil || len(entries) != 1 {
		t.Errorf("beside the home there is %v, %v", entries, err)
	}
}

func TestFolderAndFileBeside(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.furnish("work")
	snapshot := b.snapshot()
	then := sketch(t, filepath.Join(b.home, "work"))
	_ = os.RemoveAll(filepath.Join(b.home, "work/sub"))
	now := sketch(t, b.home)
	r := b.restore(snapshot, station.RestoreRequest{Path: "work", Where: "beside"})
	if r.State != "done" || !strings.HasPrefix(r.Into, "work (from 20") {
		t.Fatalf("%+v", r)
	}
	same(t, sketch(t, filepath.Join(b.home, r.Into)), then, true)
	file := b.restore(snapshot, station.RestoreRequest{Path: "work/bad%FF%0A %2541", Where: "beside"})
	if got := b.get("work/bad\xff\n %41" + file.Into[strings.LastIndex(file.Into, " (from"):]); got != "odd" {
		t.Fatalf("%+v is %q", file, got)
	}
	for _, id := range []string{file.ID, r.ID} {
		if r, err := b.Undo(t.Context(), b.user, id); err != nil || r.State != "undone" {
			t.Errorf("%+v %v", r, err)
		}
	}
	same(t, sketch(t, b.home), now, false)
	list, err := b.List(t.Context(), b.user)
	if err != nil || len(list) != 2 || list[0].ID != file.ID {
		t.Errorf("%+v %v", list, err)
	}
}

func TestFileInPlaceWhoseNameIsAPattern(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.furnish("work")
	b.put("work/xa", "another that the pattern would match")
	snapshot := b.snapshot()
	b.put("work/[a]*?\\", "broken")
	b.put("work/xa", "changed as well, and not asked for")
	r := b.restore(snapshot, station.RestoreRequest{Path: "work/[a]*?\\", Where: "in_place"})
	if r.State != "done" || b.get("work/[a]*?\\") != "glob" || b.get("work/xa") != "changed as well, and not asked for" || r.Done != 4 || r.Total != 4 {
		t.Errorf("%+v: %q %q", r, b.get("work/[a]*?\\"), b.get("work/xa"))
	}
}

// A program that a session's root gave capabilities has them as an attribute that
// not everybody may set. It is no reason to give nothing back.
func TestFileWithCapabilities(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root")
	}
	b := newBench(t)
	b.put("bin/ping", "program")
	// cap_net_raw+ep of a user namespace whose root is the range's first id.
	attr := []byte{1, 0, 0, 3, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0}
	if err := unix.Setxattr(filepath.Join(b.home, "bin/ping"), "security.capability", attr, 0); err != nil {
		t.Skip("SKIPPED: file capabilities: ", err)
	}
	snapshot := b.snapshot()
	b.put("bin/ping", "broken")
	if r := b.restore(snapshot, station.RestoreRequest{Path: "bin", Where: "in_place"}); r.State != "done" || b.get("bin/ping") != "program" {
		t.Errorf("%+v, %q", r, b.get("bin/ping"))
	}
}

func TestManyChangesInPlace(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := filepath.Join(b.home, "many")
	_ = os.Mkdir(p, 0o755)
	write := func(c string) {
		for i := range 3 * batch / 2 {
			if err := os.WriteFile(filepath.Join(p, "f"+strings.Repeat("x", i%50)+string(rune('a'+i/50%26))), []byte(c), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b.own()
	}
	write("then")
	snapshot := b.snapshot()
	then := sketch(t, b.home)
	write("now, and longer")
	if r := b.restore(snapshot, station.RestoreRequest{Path: "many", Where: "in_place"}); r.State != "done" {
		t.Fatalf("%+v", r)
	}
	same(t, sketch(t, b.home), then, false)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.put("f", "content")
	snapshot := b.snapshot()
	b.put("f", "other content")
	for code, try := range map[string]func() error{
		"no_snapshot": func() error {
			_, err := b.Start(t.Context(), b.user, "--help", station.RestoreRequest{Path: "f", Where: "beside"})
			return err
		},
		"bad_path": func() error {
			_, err := b.Preview(t.Context(), b.user, snapshot, station.RestoreRequest{Path: "../f", Where: "beside"})
			return err
		},
		"bad_where": func() error {
			_, err := b.Preview(t.Context(), b.user, snapshot, station.RestoreRequest{Path: "f"})
			return err
		},
		"bad_exact": func() error {
			_, err := b.Preview(t.Context(), b.user, snapshot, station.RestoreRequest{Path: "f", Where: "beside", Exact: true})
			return err
		},
		"not_in_snapshot": func() error {
			_, err := b.Preview(t.Context(), b.user, snapshot, station.RestoreRequest{Path: "g", Where: "beside"})
			return err
		},
		"no_restore": func() error { _, err := b.Undo(t.Context(), b.user, "abcdefghijkl"); return err },
	} {
		wantCode(t, try(), code)
	}
	if err := b.volumes.SetQuota(t.Context(), b.ws, 1); err != nil {
		t.Fatal(err)
	}
	preview, err := b.Preview(t.Context(), b.user, snapshot, station.RestoreRequest{Path: "f", Where: "in_place"})
	if err != nil || !strings.Contains(preview.Refused, "no room left") {
		t.Errorf("%+v %v", preview, err)
	}
	r := b.restore(snapshot, station.RestoreRequest{Path: "f", Where: "in_place"})
	if r.State != "failed" || r.Undo || r.Trouble != preview.Refused || b.get("f") != "other content" {
		t.Errorf("%+v %q", r, b.get("f"))
	}
	wantCode(t, func() error { _, err := b.Undo(t.Context(), b.user, r.ID); return err }(), "no_undo")
}

func TestOneAtATime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.put("f", "content")
	snapshot := b.snapshot()
	first, err := b.Start(t.Context(), b.user, snapshot, station.RestoreRequest{Path: "f", Where: "beside"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Start(t.Context(), b.user, snapshot, station.RestoreRequest{Path: "f", Where: "beside"})
	wantCode(t, err, "restore_running")
	if r := b.ended(first.ID); r.State != "done" {
		t.Errorf("%+v", r)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	p, ok := errors.AsType[*station.Problem](err)
	if !ok || p.Code != code {
		t.Errorf("%v, wanted %s", err, code)
	}
}
