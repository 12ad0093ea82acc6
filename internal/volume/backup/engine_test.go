package backup

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"staithe/internal/station"
)

// What changes is in a verified snapshot soon, the state says so and no more, and
// nothing runs when nothing changed; also over a restart.
func TestChangesAreKept(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	if s := b.state(); !s.Safe.IsZero() || s.Pending != -1 || !s.On {
		t.Errorf("before the first: %+v", s)
	}
	first := b.settled()
	begin := time.Now()
	b.write("f", "one")
	b.until("it is pending", time.Second, func(s station.BackupState) bool { return s.Pending == 1 })
	s := b.until("the change is kept", time.Minute, func(s station.BackupState) bool { return s.Safe.After(begin) })
	if !s.Safe.After(first.Safe) || s.Trouble != "" {
		t.Errorf("%+v", s)
	}
	b.settled()
	if c := b.content("f"); c != "one" {
		t.Errorf("%q", c)
	}
	list, err := b.e.Snapshots(b.ws)
	if err != nil || len(list) != 2 || list[0].Verified.Before(list[0].At) || list[0].Files != 1 || list[0].Changed != 1 || !list[0].At.Equal(b.state().Safe) {
		t.Fatalf("%+v %v", list, err)
	}
	b.write(".cache-not", "x") // not left out
	b.safe()
	b.settled()
	b.tell(".cache/x", ".local/share/staithe/staging/y")
	b.tell() // taken in after those
	if s := b.state(); s.Pending != 0 {
		t.Errorf("what is left out is pending: %+v", s)
	}
	b.stop()
	before := b.state()
	b.start()
	if s := b.state(); !s.Safe.Equal(before.Safe) || s.Pending != -1 {
		t.Errorf("after a restart: %+v, before %+v", s, before)
	}
	b.settled()
	if list, err = b.e.Snapshots(b.ws); err != nil || len(list) != 4 {
		t.Errorf("%d snapshots, %v", len(list), err)
	}
	b.plain("check", "--read-data")
	b.plain("restore", "latest", "--target", t.TempDir())
}

// A snapshot that was asked for is made without a change, and is waited for.
func TestAsked(t *testing.T) {
	b := newBench(t, nil)
	b.settled()
	sn, err := b.e.Wait(t.Context(), b.ws, "before-restore")
	if err != nil || sn.Verified.IsZero() || len(sn.Tags) != 1 || sn.Tags[0] != "before-restore" {
		t.Errorf("%+v %v", sn, err)
	}
}

// A repository that is gone is not claimed to be there: the state begins anew,
// and so does the repository.
func TestVanishedRepository(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.write("f", "text")
	b.settled()
	b.stop()
	repo := filepath.Join(b.o.Data, reposDir, string(b.ws.ID))
	if err := os.RemoveAll(repo); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.until("the loss is seen", time.Minute, func(s station.BackupState) bool { return s.Safe.IsZero() })
	b.settled()
	if c := b.content("f"); c != "text" {
		t.Errorf("%q", c)
	}
	// And while the server runs.
	if err := os.RemoveAll(repo); err != nil {
		t.Fatal(err)
	}
	b.write("f", "again")
	b.safe()
	if list, err := b.e.Snapshots(b.ws); err != nil || len(list) != 1 {
		t.Errorf("%+v %v", list, err)
	}
	if c := b.content("f"); c != "again" {
		t.Errorf("%q", c)
	}
}

// What cannot be read back does not count. The pack that has a file's content is
// lost; restic, which has it in its index, does not write it again for another
// file with the same.
func TestUnverifiedDoesNotCount(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.settled()
	same := string(random(1 << 20))
	b.write("f", same)
	before := b.safe()
	packs, err := filepath.Glob(filepath.Join(b.o.Data, reposDir, string(b.ws.ID), "data", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, p := range packs {
		if info, err := os.Stat(p); err == nil && info.Size() > 1<<20 {
			if err := os.Remove(p); err != nil {
				t.Fatal(err)
			}
			lost++
		}
	}
	if lost != 1 {
		t.Fatalf("%d packs have the file, of %q", lost, packs)
	}
	b.write("g", same)
	s := b.until("trouble is said", time.Minute, func(s station.BackupState) bool { return s.Trouble != "" && s.Busy == "" })
	if !s.Safe.Equal(before.Safe) || s.Pending < 1 || s.Retry.IsZero() {
		t.Errorf("%+v, before %+v", s, before)
	}
	list, err := b.e.Snapshots(b.ws)
	if err != nil || !list[0].Verified.IsZero() {
		t.Errorf("%+v %v", list[0], err)
	}
}

// Many changes in a row are one snapshot after a quiet time, and not put off for
// ever under steady ones.
func TestDue(t *testing.T) {
	tm := Timing{}.withDefaults()
	begin := time.Unix(1000, 0)
	var p pending
	if !p.due(tm).IsZero() {
		t.Error("due without a change")
	}
	p.add(begin, []string{"a"}, false)
	if d := p.due(tm); d != begin.Add(5*time.Second) {
		t.Error(d)
	}
	for i := range 60 {
		p.add(begin.Add(time.Duration(i)*time.Second), []string{"a", "b"}, false)
	}
	if d := p.due(tm); d != begin.Add(30*time.Second) {
		t.Error(d)
	}
	q := pending{}
	q.add(begin.Add(time.Hour), []string{"b", "c"}, false)
	if n := count(&p, &q); n != 3 {
		t.Error(n)
	}
	q.merge(p)
	if n := count(&q, &pending{}); n != 3 || !q.first.Equal(begin) || !q.last.Equal(begin.Add(time.Hour)) {
		t.Errorf("%d %+v", n, q)
	}
}

func TestRules(t *testing.T) {
	for path, want := range map[string]bool{".cache": true, ".cache/x": false, ".cache/x/y": false, "d/.cache/x": true, "cache/x": true, "a-shm": true,
		".local/share/staithe/staging/1": false, ".local/share/staithe": true} {
		if counts(path, usual) != want {
			t.Errorf("%s counts: %v", path, !want)
		}
	}
}
