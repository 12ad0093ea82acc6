package restore

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"staithe/internal/station"
)

// staged is what of restores lies in the home.
func (b *bench) staged() []string {
	b.t.Helper()
	found, err := filepath.Glob(filepath.Join(b.home, ".local/share/staithe/staging/restore-*/tree"))
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

// until waits until something is so.
func (b *bench) until(what string, so func() bool) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); !so(); {
		if time.Now().After(end) {
			b.t.Fatal("it does not come to this: ", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// changed is a home that differs from its snapshot by two files.
func (b *bench) changed() (snapshot string) {
	b.t.Helper()
	b.put("x/a", "old a")
	b.put("y/b", "old b")
	snapshot = b.snapshot()
	b.put("x/a", "newer a")
	b.put("y/b", "newer b, and longer")
	return snapshot
}

var everything = station.RestoreRequest{Path: ".", Where: "in_place"}

// What cannot be placed at all is not left in the home, where it would count.
func TestRestoreThatFailsBeforeItsFirstStep(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	snapshot := b.changed()
	b.set(func() {
		if err := os.RemoveAll(filepath.Join(b.home, "x")); err != nil {
			t.Error(err)
		}
		b.put("x", "a file, meanwhile")
	}, nil)
	r := b.restore(snapshot, station.RestoreRequest{Path: "x/a", Where: "in_place"})
	if r.State != "failed" || r.Undo || !strings.Contains(r.Trouble, "not a folder") {
		t.Errorf("%+v", r)
	}
	if left := b.staged(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	_, err := b.Preview(t.Context(), b.user, snapshot, station.RestoreRequest{Path: "x/a", Where: "in_place"})
	wantCode(t, err, "not_a_folder")
}

// When nobody can say how far it came, it can be undone.
func TestRestoreWhoseHelperIsLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	snapshot := b.changed()
	before := sketch(t, b.home)
	lost := station.Errorf(station.ErrUnavailable, "no_files", "The files cannot be reached; try again in a moment.")
	b.set(nil, func(context.Context) error {
		if len(b.staged()) > 0 {
			return lost
		}
		return nil
	})
	r := b.restore(snapshot, everything)
	if r.State != "failed" || !r.Undo || !strings.Contains(r.Trouble, "cannot be reached") {
		t.Errorf("%+v", r)
	}
	b.set(nil, nil)
	if r, err := b.Undo(t.Context(), b.user, r.ID); err != nil || r.State != "undone" || r.Undo || r.Trouble != "" {
		t.Errorf("%+v %v", r, err)
	}
	same(t, sketch(t, b.home), before, false)
	if left := b.staged(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	// Before it is in the home, it is known that nothing was changed.
	b.set(func() { b.set(nil, func(context.Context) error { return lost }) }, nil)
	r = b.restore(snapshot, everything)
	if r.State != "failed" || r.Undo {
		t.Errorf("%+v", r)
	}
}

// A server that ends while it undoes: the next one goes on.
func TestUndoThatTheServerDoesNotEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	snapshot := b.changed()
	before := sketch(t, b.home)
	r := b.restore(snapshot, everything)
	if r.State != "done" {
		t.Fatalf("%+v", r)
	}
	asked := make(chan bool)
	b.set(nil, func(ctx context.Context) error {
		close(asked)
		<-ctx.Done()
		return ctx.Err()
	})
	gone, leave := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := b.Undo(gone, b.user, r.ID)
		ended <- err
	}()
	<-asked
	leave() // who asked for it does not wait
	if err := <-ended; err == nil {
		t.Error("it is said to be undone")
	}
	b.Manager.Close()
	b.set(nil, nil)
	b.again()
	b.Recover()
	b.until("undone", func() bool {
		r, err := b.Get(t.Context(), b.user, r.ID)
		return err == nil && r.State == "undone" && !r.Undo && !b.Running(b.ws.ID)
	})
	same(t, sketch(t, b.home), before, false)
}

// An undo that something is in the way of says so, and can be tried again.
func TestUndoInPart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	snapshot := b.changed()
	before := sketch(t, b.home)
	r := b.restore(snapshot, everything)
	if err := os.RemoveAll(filepath.Join(b.home, "x")); err != nil {
		t.Fatal(err)
	}
	b.put("x", "in the way")
	r, err := b.Undo(t.Context(), b.user, r.ID)
	if err != nil || r.State != "failed" || !r.Undo || !strings.Contains(r.Trouble, "1 of 2 could not be taken back") || b.get("y/b") != "newer b, and longer" {
		t.Fatalf("%+v %v", r, err)
	}
	if err := os.Remove(filepath.Join(b.home, "x")); err != nil {
		t.Fatal(err)
	}
	r, err = b.Undo(t.Context(), b.user, r.ID)
	if err != nil || r.State != "undone" || r.Undo || r.Trouble != "" {
		t.Errorf("%+v %v", r, err)
	}
	same(t, sketch(t, b.home), before, false)
}

// Records that are not as they should be are no reason not to start.
func TestRecoverOfRecordsThatCouldNotBeKept(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	snapshot := b.changed()
	var ids []string
	for range 2 {
		r := b.restore(snapshot, station.RestoreRequest{Path: "x", Where: "beside"})
		if r.State != "done" {
			t.Fatalf("%+v", r)
		}
		ids = append(ids, r.ID)
	}
	list, err := b.records.list(b.ws.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range list { // as on a full disk, where only the beginning could be kept
		rec.Restore.State, rec.Restore.Undo, rec.Restore.Ended = "running", false, time.Time{}
		if err := b.records.keep(rec.Restore, rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(b.data, "restores", string(station.NewID())), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.Manager.Close()
	b.again()
	b.Recover()
	b.until("both ended", func() bool {
		ended := 0
		for _, id := range ids {
			if r, err := b.Get(t.Context(), b.user, id); err == nil && r.State == "done" && r.Undo {
				ended++
			}
		}
		return ended == 2 && !b.Running(b.ws.ID)
	})
}

// Names whose bytes a listing does not tell apart come back, each with its own.
func TestRestoreOfNamesThatLookTheSame(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.put("d/\xfe", "then 1")
	b.put("d/\xff", "then 2")
	b.put("d/f\xfe/x", "in it 1")
	b.put("d/f\xff/x", "in it 2")
	snapshot := b.snapshot()
	then := sketch(t, b.home)
	b.put("d/\xff", "changed")
	if err := os.RemoveAll(filepath.Join(b.home, "d/f\xfe")); err != nil {
		t.Fatal(err)
	}
	now := sketch(t, b.home)
	for _, path := range []string{".", "d", "d/%FF"} {
		r := b.restore(snapshot, station.RestoreRequest{Path: path, Where: "in_place"})
		if r.State != "done" || b.get("d/\xff") != "then 2" || b.get("d/\xfe") != "then 1" {
			t.Fatalf("%q: %+v", path, r)
		}
		if path != "d/%FF" {
			same(t, sketch(t, b.home), then, false)
		}
		if r, err := b.Undo(t.Context(), b.user, r.ID); err != nil || r.State != "undone" {
			t.Errorf("%+v %v", r, err)
		}
		same(t, sketch(t, b.home), now, false)
	}
}

// A folder that goes while it is fetched does not come back in part.
func TestFolderThatGoesMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.put("x/same", "same")
	b.put("gone/all", "of it")
	snapshot := b.changed()
	if err := os.RemoveAll(filepath.Join(b.home, "gone")); err != nil {
		t.Fatal(err)
	}
	b.set(func() { _ = os.RemoveAll(filepath.Join(b.home, "x")) }, nil)
	r := b.restore(snapshot, everything)
	if r.State != "failed" || !r.Undo || !strings.Contains(r.Trouble, "restore it again") || b.get("x/a") != "(none)" || b.get("y/b") != "old b" || b.get("gone/all") != "of it" {
		t.Errorf("%+v", r)
	}
	b.set(nil, nil)
	r = b.restore(snapshot, everything)
	if r.State != "done" || b.get("x/a") != "old a" || b.get("x/same") != "same" {
		t.Errorf("%+v", r)
	}
}

// How a restore ended is told, and kept later, when it cannot be kept at once.
func TestEndThatCannotBeKeptAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	snapshot := b.changed()
	var blocked []string
	b.set(nil, func(context.Context) error {
		if len(b.staged()) == 0 || len(blocked) > 0 {
			return nil
		}
		found, err := filepath.Glob(filepath.Join(b.data, "restores", string(b.ws.ID), "*.json"))
		for _, f := range found {
			blocked = append(blocked, f+".new")
			err = os.Mkdir(f+".new", 0o700) // as good as a full disk
		}
		return err
	})
	r := b.restore(snapshot, everything)
	if r.State != "done" || !r.Undo || len(blocked) != 1 {
		t.Fatalf("%+v, %q", r, blocked)
	}
	if list, err := b.records.list(b.ws.ID); err != nil || list[0].Restore.State != "running" {
		t.Fatalf("it was kept: %+v, %v", list, err)
	}
	if _, err := b.Undo(t.Context(), b.user, r.ID); err == nil {
		t.Error("an undo begins that could not be kept")
	}
	if err := os.Remove(blocked[0]); err != nil {
		t.Fatal(err)
	}
	if r, err := b.Undo(t.Context(), b.user, r.ID); err != nil || r.State != "undone" {
		t.Errorf("%+v %v", r, err)
	}
	if list, err := b.records.list(b.ws.ID); err != nil || list[0].Restore.State != "undone" {
		t.Errorf("%+v, %v", list, err)
	}
}
