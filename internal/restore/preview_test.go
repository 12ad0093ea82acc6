package restore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"staithe/internal/files"
	"staithe/internal/station"
	"staithe/internal/volume/capture"
)

// Where so much differs that all below the path is fetched, room is set aside for
// all of it, and the preview says so. What a preview keeps is bounded.
func TestSoManyDifferencesThatAllIsFetched(t *testing.T) {
	for _, c := range []struct {
		names int
		all   bool
	}{{batch * batches, false}, {batch*batches + 1, true}, {5 * batch * batches, true}} {
		l := &looked{whole: 1 << 40, names: 1 << 30}
		take := taker{looked: l, preview: true}
		for i := range c.names {
			if err := take.diff(files.Diff{Change: "replace", Was: fmt.Sprint("f", i), Path: files.Path(fmt.Sprint("f", i))}); err != nil {
				t.Fatal(err)
			}
			if err := take.diff(files.Diff{Change: "trash", Path: files.Path(fmt.Sprint("t", i))}); err != nil {
				t.Fatal(err)
			}
		}
		l.compared = files.Compared{Replaces: int64(c.names), Bytes: 7}
		take.end()
		bytes, names := int64(7), int64(c.names)
		if c.all {
			bytes, names = l.whole, l.names
		}
		if l.all != c.all || l.bytes() != bytes || l.files() != names {
			t.Errorf("%d names: all %v, %d bytes, %d names", c.names, l.all, l.bytes(), l.files())
		}
		if len(l.shown) != shownChanges || l.steps.Len() > 0 || l.all && len(take.paths) > 0 {
			t.Errorf("%d names: %d shown, %d bytes of steps, %d paths are kept", c.names, len(l.shown), l.steps.Len(), len(take.paths))
		}
	}
}

// And so it is with a real home; of which only a part comes, but all is fetched.
func TestAllIsFetchedAndReserved(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	big := make([]byte, 1<<20)
	b.plant("d/same", string(big))
	for i := range batch*batches + 10 {
		b.plant(fmt.Sprintf("d/%d/f", i), "1")
	}
	b.own()
	snapshot := b.snapshot()
	for i := range batch*batches + 10 {
		b.plant(fmt.Sprintf("d/%d/f", i), "22")
	}
	b.own()
	q := station.RestoreRequest{Path: "d", Where: "in_place"}
	p, err := b.Preview(t.Context(), b.user, snapshot, q)
	if err != nil || p.Replace != batch*batches+10 || p.Bytes != 1<<20+batch*batches+10 || len(p.Changes) != shownChanges {
		t.Fatalf("%d replaced, %d bytes, %d shown, %v", p.Replace, p.Bytes, len(p.Changes), err)
	}
	if r := b.restore(snapshot, q); r.State != "done" || b.get("d/7/f") != "1" || r.Total != p.Bytes {
		t.Errorf("%+v %q", r, b.get("d/7/f"))
	}
}

// What the person left out of snapshots stays where it is in an exact restore,
// also when nobody took in the rules yet; when they cannot be read it is refused.
func TestExactKnowsWhatWasLeftOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.put(capture.Excludes, "# mine\nprivate\n*.iso\n")
	b.put("kept", "then")
	snapshot := b.snapshot()
	b.put("private/deep/letter", "never saved")
	b.put("private.iso", "never saved")
	b.put("new", "came later")
	q := station.RestoreRequest{Path: ".", Where: "in_place", Exact: true}
	if p, err := b.Preview(t.Context(), b.user, snapshot, q); err != nil || p.Trash != 1 {
		t.Errorf("%+v %v", p, err)
	}
	if r := b.restore(snapshot, q); r.State != "done" {
		t.Fatalf("%+v", r)
	}
	if b.get("private/deep/letter") != "never saved" || b.get("private.iso") != "never saved" || b.get("new") != "(none)" {
		t.Error("what was left out is gone, or what came later is not")
	}
	b.put("private/deep/letter", "never saved")
	excludes := filepath.Join(b.home, capture.Excludes)
	if err := errors.Join(os.Remove(excludes), os.Mkdir(excludes, 0o700)); err != nil {
		t.Fatal(err)
	}
	b.own()
	_, err := b.Preview(t.Context(), b.user, snapshot, q)
	wantCode(t, err, "rules_unknown")
	if r := b.restore(snapshot, q); r.State != "failed" || b.get("private/deep/letter") != "never saved" {
		t.Errorf("%+v", r)
	}
	q.Exact = false
	if _, err := b.Preview(t.Context(), b.user, snapshot, q); err != nil {
		t.Error(err)
	}
}

// A snapshot that is not there is refused at once.
func TestNoSuchSnapshot(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	q := station.RestoreRequest{Path: "a", Where: "beside"}
	_, err := b.Start(t.Context(), b.user, noSnapshotID, q)
	wantCode(t, err, "no_snapshot")
	_, err = b.Preview(t.Context(), b.user, noSnapshotID, q)
	wantCode(t, err, "no_snapshot")
	if list, err := b.List(t.Context(), b.user); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}
