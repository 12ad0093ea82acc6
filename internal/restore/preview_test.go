package restore

import (
	"fmt"
	"testing"

	"staithe/internal/files"
	"staithe/internal/station"
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
