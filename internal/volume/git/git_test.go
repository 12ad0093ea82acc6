package git

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"staithe/internal/rootlesstest"
	"staithe/internal/station"
)

func TestStatus(t *testing.T) {
	b := newBench(t)
	b.write("p/a", "1\n")
	b.write("p/old", "a file that is long enough\nto be known again\n")
	b.write("p/sub/c", "1\n")
	b.write("p/.gitignore", "ignored\n")
	b.git("p", "init", "-q")
	b.git("p", "add", ".")
	b.git("p", "commit", "-qm", "one")
	if s := b.status("p"); string(s.Repository) != "p" || s.Branch != "main" || len(s.Entries) != 0 || s.Entries == nil {
		t.Errorf("%+v", s)
	}
	b.git(".", "clone", "-q", "p", "q")
	b.git("p", "commit", "-q", "--allow-empty", "-m", "two")
	b.git("q", "fetch", "-q")
	b.git("q", "commit", "-q", "--allow-empty", "-m", "mine")
	b.git("q", "mv", "old", "new")
	b.write("q/a", "22\n")
	b.write("q/sub/staged", "1\n")
	b.git("q", "add", "sub/staged")
	b.write("q/line\nbreak \xff", "1\n")
	b.write("q/ignored", "1\n")
	b.write("q/fresh/x", "1\n")
	s := b.status("q/sub")
	if string(s.Repository) != "q" || s.Branch != "main" || s.Ahead != 1 || s.Behind != 1 || s.Truncated {
		t.Errorf("%+v", s)
	}
	if got := s.codes(); got != " M q/a|R  q/new|A  q/sub/staged|?? q/fresh|?? q/line\nbreak \xff" {
		t.Errorf("%q", got)
	}
	b.git("q", "checkout", "-q", "--detach")
	if s := b.status("q"); s.Branch != "" {
		t.Errorf("%+v", s)
	}
	b.write("none/x", "1\n")
	if s := b.status("none"); s.Repository != nil || len(s.Entries) != 0 {
		t.Errorf("%+v", s)
	}
	if s := b.status("q/.git/refs"); s.Repository != nil {
		t.Errorf("%+v", s)
	}
	b.git(".", "init", "-q")
	if s := b.status("."); string(s.Repository) != "." || s.Branch != "main" {
		t.Errorf("the home itself: %+v", s)
	}
	b.write("q/.git/index", "garbage")
	if _, err := b.Status(t.Context(), b.home, []byte("q")); !errors.Is(err, station.ErrConflict) {
		t.Error(err)
	}
}

// A repository with a work tree beside it, and what is read through links.
func TestLinkedWorkTree(t *testing.T) {
	b := newBench(t)
	b.write("p/a", "1\n")
	b.git("p", "init", "-q")
	b.git("p", "add", ".")
	b.git("p", "commit", "-qm", "one")
	b.git("p", "worktree", "add", "-q", "../w", "-b", "side")
	// In a session the home has another name than on the host.
	b.write("w/.git", "gitdir: /home/dev/p/.git/worktrees/w\n")
	b.write("w/a", "22\n")
	if s := b.status("w"); string(s.Repository) != "w" || s.Branch != "side" || s.codes() != " M w/a" {
		t.Errorf("%+v", s)
	}
}

func TestManyEntriesAreCut(t *testing.T) {
	b := newBench(t)
	b.git(".", "init", "-q", "p")
	for i := range entriesMax + 10 {
		if err := os.WriteFile(filepath.Join(b.home.Path, "p", fmt.Sprint(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.give()
	if s := b.status("p"); len(s.Entries) != entriesMax || !s.Truncated {
		t.Errorf("%d, %v", len(s.Entries), s.Truncated)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("# branch.head main\x00# branch.ab +1 -2\x001 .M N... 100644 100644 100644 a b c d\x002 R. N... 1 1 1 a b R100 new\x00old\x00? x\x00u UU N... 1 1 1 1 a b c f\x00"))
	f.Add([]byte("1 \x002 \x00? \x00# "))
	f.Fuzz(func(t *testing.T, out []byte) {
		for _, e := range parse(out, "top").Entries {
			if len(e.Code) != 2 || len(e.Path) == 0 {
				t.Errorf("%+v", e)
			}
		}
	})
}

// All this once more by an account that is not root: in a user namespace.
func TestRootless(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this is the account that is not root")
	}
	if passed := rootlesstest.Run(t, rootlesstest.Again{Run: "^Test(Status|LinkedWorkTree|Abuse.*)$"}); passed < 3 {
		t.Errorf("only %d tests", passed)
	}
}
