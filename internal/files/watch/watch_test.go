package watch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"staithe/internal/files"
)

// What each kind of change is told as, by every source.
func TestEveryKindOfChange(t *testing.T) {
	everySource(t, func(t *testing.T, y *yard, source string) {
		for _, f := range []string{"old", "gone", "from", "mode", "over", "d/x", "d/e/y", "same"} {
			y.mkdir(filepath.Dir(f))
			y.write(f, "before")
		}
		s := y.stream(".")
		steps := []struct {
			do   func()
			want string
		}{
			{func() { y.write("new", "x") }, "create new"},
			{func() { y.write("old", "after, and longer") }, "modify old"},
			{func() { y.must(os.Remove(y.at("gone"))) }, "delete gone"},
			{func() { y.must(os.Chmod(y.at("mode"), 0o600)) }, "attrib mode"},
			{func() { y.must(os.Rename(y.at("from"), y.at("to"))) }, "move from to to"},
			{func() { y.must(os.Symlink("/etc", y.at("link"))) }, "create link"},
			{func() { y.must(os.Link(y.at("same"), y.at("hard"))) }, "create hard"},
			{func() { y.must(unix.Mkfifo(y.at("fifo"), 0o600)) }, "create fifo"},
			{func() { y.mkdir("deep/er") }, "create deep"},
			{func() { y.write("deep/er/f", "x") }, "create deep/er/f"},
			{func() { y.must(os.Rename(y.at("d"), y.at("deep/d"))) }, "move d to deep/d"},
			{func() { y.write("deep/d/e/y", "after the move") }, "modify deep/d/e/y"},
			{func() { y.must(os.RemoveAll(y.at("deep/d"))) }, "delete deep/d"},
			{func() { y.write("two\nlines\xff", "x") }, "create two%0Alines%FF"},
		}
		for i, step := range steps {
			step.do()
			end := fmt.Sprint("end", i)
			y.write(end, "")
			got := told(y.until(s, files.Path(end)))
			want := step.want
			if from, to, ok := cutMove(want); ok && (source == "looks" || source == "fanotify before 5.17") {
				want = "create " + to // and that the other is deleted
				if !slices.Contains(got, "delete "+from) {
					t.Errorf("told %q, not that %s is gone", got, from)
				}
			}
			if source == "looks" && want == "attrib mode" {
				want = "modify mode"
			}
			if !slices.Contains(got, want) {
				t.Errorf("told %q, not %q", got, want)
			}
		}
	})
}

func cutMove(s string) (from, to string, ok bool) {
	n, _ := fmt.Sscanf(s, "move %s to %s", &from, &to)
	return from, to, n == 2
}

// What is done at random by several at once, moves of folders among it: who goes by
// the events knows what is there.
func TestRandomChanges(t *testing.T) {
	everySource(t, func(t *testing.T, y *yard, source string) {
		if source == "looks" {
			t.Skip("it sees only what is left in the end; TestEveryKindOfChange has it")
		}
		for round := range 6 {
			s := y.stream(".")
			m := newMirror(y.home)
			done := make(chan struct{})
			for worker := range 3 {
				go func() {
					defer func() { done <- struct{}{} }()
					churn(y.home, rand.New(rand.NewPCG(uint64(round), uint64(worker))))
				}()
			}
			for range 3 {
				<-done
			}
			end := fmt.Sprint("end", round)
			y.write(end, "")
			m.follow(t, s, files.Path(end), source == "inotify")
			if d := m.differs(); d != "" {
				t.Fatalf("round %d: %s", round, d)
			}
			s.Close()
		}
	})
}

// churn does a few hundred things; that some fail is part of it.
func churn(home string, r *rand.Rand) {
	name := func() string {
		p := home
		for range 1 + r.IntN(3) {
			p = filepath.Join(p, string(rune('a'+r.IntN(4))))
		}
		return p
	}
	for range 400 {
		switch r.IntN(10) {
		case 0, 1, 2:
			_ = os.MkdirAll(name(), 0o755)
		case 3, 4:
			_ = os.WriteFile(name(), []byte("x"), 0o644)
		case 5, 6, 7:
			_ = os.Rename(name(), name())
		case 8:
			_ = unix.Renameat2(unix.AT_FDCWD, name(), unix.AT_FDCWD, name(), unix.RENAME_EXCHANGE)
		case 9:
			_ = os.RemoveAll(name())
		}
	}
}

// The helper saves with an exchange against its staging folder; that is a change of
// the file, and nothing else is told.
func TestAnExchangeWithStaging(t *testing.T) {
	y := newYard(t, "fanotify")
	y.write("f", "old")
	y.mkdir(".local/share/staithe/staging")
	s := y.stream(".")
	y.write(".local/share/staithe/staging/x", "new")
	y.must(unix.Renameat2(unix.AT_FDCWD, y.at(".local/share/staithe/staging/x"), unix.AT_FDCWD, y.at("f"), unix.RENAME_EXCHANGE))
	y.must(os.Remove(y.at(".local/share/staithe/staging/x")))
	y.write("end", "")
	got := told(y.until(s, "end"))
	if len(got) != 1 || got[0] != "create f" && got[0] != "modify f" {
		t.Errorf("told %q", got)
	}
}

// Homes are told apart, and what is beside them is nobody's news.
func TestOnlyTheOwnHome(t *testing.T) {
	everySource(t, func(t *testing.T, y *yard, source string) {
		other := filepath.Join(y.homes, "bbbbbbbbbbbbbbbb")
		beside := filepath.Join(filepath.Dir(y.homes), "beside", "deep")
		y.must(os.Mkdir(other, 0o755), os.MkdirAll(beside, 0o755))
		s := y.stream(".")
		so, err := y.Watch(t.Context(), "bbbbbbbbbbbbbbbb", other, ".")
		y.must(err)
		defer so.Close()
		for _, d := range []string{other, beside, y.homes} {
			y.must(os.WriteFile(filepath.Join(d, "theirs"), nil, 0o644))
		}
		y.must(os.WriteFile(filepath.Join(other, "end"), nil, 0o644))
		y.write("mine", "")
		y.write("end", "")
		if got := told(y.until(s, "end")); !slices.Equal(got, []string{"create mine"}) {
			t.Errorf("told %q", got)
		}
		if got := told(y.until(so, "end")); !slices.Equal(got, []string{"create theirs"}) {
			t.Errorf("the other: %q", got)
		}
		if source == "looks" || source == "inotify" {
			return
		}
		// A folder that comes in from outside, whose folders were outside before.
		y.must(os.Rename(filepath.Dir(beside), y.at("came")))
		y.write("came/deep/new", "")
		y.write("end2", "")
		if got := told(y.until(s, "end2")); !slices.Contains(got, "create came") || !slices.Contains(got, "create came/deep/new") {
			t.Errorf("told %q", got)
		}
		y.must(os.Rename(y.at("came"), filepath.Join(other, "went")))
		y.must(os.WriteFile(filepath.Join(other, "went/deep/more"), nil, 0o644))
		y.must(os.WriteFile(filepath.Join(other, "end2"), nil, 0o644))
		if got := told(y.until(so, "end2")); !slices.Contains(got, "create went") || !slices.Contains(got, "create went/deep/more") {
			t.Errorf("the other: %q", got)
		}
	})
}

// A link in the home leads nobody out of it: what happens behind it is not told.
func TestLinksAreNotFollowed(t *testing.T) {
	everySource(t, func(t *testing.T, y *yard, _ string) {
		out := filepath.Join(filepath.Dir(y.homes), "out")
		y.must(os.MkdirAll(filepath.Join(out, "in"), 0o755), os.Symlink(out, y.at("before")))
		s := y.stream(".")
		y.must(os.Symlink(out, y.at("after")))
		y.must(os.WriteFile(filepath.Join(out, "in", "secret"), nil, 0o644))
		y.write("end", "")
		if got := told(y.until(s, "end")); !slices.Equal(got, []string{"create after"}) {
			t.Errorf("told %q", got)
		}
		s2, err := y.Watch(t.Context(), ws, y.at("before"), ".")
		if err == nil {
			s2.Close()
			t.Error("a link is taken as a home")
		}
	})
}

// What ends a stream.
func TestClose(t *testing.T) {
	everySource(t, func(t *testing.T, y *yard, _ string) {
		s, again := y.stream("."), y.stream(".")
		s.Close()
		s.Close()
		if _, err := s.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		y.write("f", "")
		if _, err := again.Next(t.Context()); err != nil {
			t.Errorf("the other: %v", err)
		}
		if err := y.Close(); err != nil {
			t.Error(err)
		}
		if _, err := again.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("the watcher is closed: %v", err)
		}
		if _, err := y.Watch(t.Context(), ws, y.home, "."); !errors.Is(err, ErrClosed) {
			t.Errorf("watched by a closed one: %v", err)
		}
	})
}
