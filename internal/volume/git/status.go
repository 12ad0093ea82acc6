package git

import (
	"bytes"
	"context"
	"errors"
	"path"
	"strconv"
	"strings"

	"staithe/internal/station"
)

// entriesMax is how many entries one answer has.
const entriesMax = 10_000

// Status is a repository as git sees it now.
type Status struct {
	Repository []byte // its top folder, from the home's top; nil: there is none
	Branch     string // empty: the head is no branch
	Ahead      int    // commits that the upstream has not
	Behind     int    // and the other way round
	Entries    []Entry
	Truncated  bool // there are more
}

// Entry is a file that is not as it is in the last commit.
type Entry struct {
	Path []byte // from the home's top; of a new folder, without what is in it
	Code string // git's two letters, as of `git status --short`
}

// Status asks git about the repository that a folder is in, given from the home's
// top. Errors wrap station.ErrConflict when git cannot tell, and
// station.ErrUnavailable when it took too long.
func (g *Git) Status(ctx context.Context, home Home, folder []byte) (Status, error) {
	top, _, err := g.run(ctx, home, folder, "rev-parse", "--show-toplevel")
	if f, ok := errors.AsType[*failed](err); ok && (strings.Contains(f.said, "not a git repository") || strings.Contains(f.said, "must be run in a work tree")) {
		return Status{}, nil
	}
	if err != nil {
		return Status{}, explain(err)
	}
	at, ok := inHome(home, strings.TrimSuffix(string(top), "\n"))
	if !ok {
		return Status{}, nil // its work tree is elsewhere, where the person has no files
	}
	out, cut, err := g.run(ctx, home, folder, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--ignore-submodules=dirty")
	if err != nil {
		return Status{}, explain(err)
	}
	s := parse(out, at)
	s.Truncated = s.Truncated || cut
	return s, nil
}

func explain(err error) error {
	if f, ok := errors.AsType[*failed](err); ok {
		return station.Errorf(station.ErrConflict, "git_failed",
			"git cannot read this repository here; try `git status` in a terminal.").Because(f)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return station.Errorf(station.ErrUnavailable, "git_slow",
			"git takes too long to look at this repository; try `git status` in a terminal.").Because(err)
	}
	return err
}

// parse reads `git status --porcelain=v2 --branch -z` of the repository at top.
// What it does not know it passes over.
func parse(out []byte, top string) Status {
	s := Status{Repository: []byte(top), Entries: []Entry{}}
	for len(out) > 0 {
		var line []byte
		line, out, _ = bytes.Cut(out, []byte{0})
		if len(line) < 2 || line[1] != ' ' {
			continue
		}
		fields := 0 // before the path
		switch line[0] {
		case '#':
			s.head(string(line[2:]))
			continue
		case '1':
			fields = 8
		case '2':
			fields = 9
			_, out, _ = bytes.Cut(out, []byte{0}) // what it was called before
		case 'u':
			fields = 10
		case '?':
			s.add(top, "??", line[2:])
			continue
		default:
			continue
		}
		if parts := bytes.SplitN(line, []byte{' '}, fields+1); len(parts) == fields+1 {
			s.add(top, strings.ReplaceAll(string(parts[1]), ".", " "), parts[fields])
		}
	}
	return s
}

func (s *Status) head(line string) {
	what, value, _ := strings.Cut(line, " ")
	switch what {
	case "branch.head":
		if value != "(detached)" {
			s.Branch = strings.ToValidUTF8(value, "\uFFFD")
		}
	case "branch.ab":
		ahead, behind, _ := strings.Cut(value, " ")
		a, errA := strconv.Atoi(ahead)
		b, errB := strconv.Atoi(behind)
		if errA == nil && errB == nil {
			s.Ahead, s.Behind = max(a, 0), max(-b, 0)
		}
	}
}

func (s *Status) add(top, code string, at []byte) {
	if len(s.Entries) == entriesMax {
		s.Truncated = true
	}
	if s.Truncated || len(code) != 2 || len(at) == 0 {
		return
	}
	s.Entries = append(s.Entries, Entry{Path: []byte(path.Join(top, string(at))), Code: code})
}
