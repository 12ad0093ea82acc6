// Package capture makes consistent copies of the SQLite databases of a home, for
// a snapshot to have in their place, and measures what snapshots leave out. Main
// runs in a jail, as the home's user: it opens what is hostile with a parser.
//
// A database is copied by SQLite's own backup, which has one moment of it, also
// while it is written. Where that cannot be (locks of other kernels cannot be
// seen, it is locked for long, its last writer died in the middle), database and
// log are copied until they did not change meanwhile, and SQLite makes of that
// copy what it would have made of the original after a crash. So it is with what
// stands still, too, as SQLite would leave a log and an index (-wal, -shm) beside a
// database that had none, and opening these is heard as a change. Nothing of the
// original is changed.
//
// Copies are kept from one snapshot to the next, as long as a database does not
// change: so restic has nothing to read again.
package capture

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"
)

// The places inside of the jail.
const (
	Home = "/home"
	Out  = "/out" // the copies
)

// Request is what to do.
type Request struct {
	Rules []string `json:"rules"` // what is left out, as Match has it
	// Foreign says that locks of the home's programs cannot be seen.
	Foreign bool  `json:"foreign"`
	Millis  int   `json:"millis"` // for all
	One     int64 `json:"one"`    // the largest database that is copied, in bytes
	All     int64 `json:"all"`    // all of them together
}

// Line is one thing that came of it. Paths are from the home's top, any bytes.
type Line struct {
	// Path is a database, Copy the name of its copy; or Why there is none: the
	// snapshot has the file as it is on the disk.
	Path []byte `json:"path,omitempty"`
	Copy string `json:"copy,omitempty"`
	// Beside are the ends of files next to it that are part of the copy, and Other of
	// what has such a name and is something else.
	Beside []string `json:"beside,omitempty"`
	Other  []string `json:"other,omitempty"`
	// Nano is when the database or its log was last changed.
	Nano int64  `json:"nano,omitempty"`
	Why  string `json:"why,omitempty"`
	// Rule and what it matches. Own: the person's, out of the file Excludes.
	Rule  string `json:"rule,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
	Files int64  `json:"files,omitempty"`
	Own   bool   `json:"own,omitempty"`
	// Cut says why databases may be missing here: the snapshot has them as they are.
	Cut string `json:"cut,omitempty"`
	// Done is the last line's.
	Done bool `json:"done,omitempty"`
}

// Args are the program's arguments, after its path.
func (r Request) Args() ([]string, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode what to capture: %w", err)
	}
	return []string{Word, string(b)}, nil
}

// Word is the first argument of a program that is to capture.
const Word = "capture"

// Excludes is a file in the home with rules of its person, one a line; # begins a
// comment.
const Excludes = ".config/staithe/backup-exclude"

// rulesMax is how many of these count, and fileMax how much of the file is read.
const (
	rulesMax = 100
	fileMax  = 64 << 10
)

// ParseRules takes the rules out of the text of Excludes. Lines that are none say nothing.
func ParseRules(text string) []string {
	var rules []string
	for line := range strings.Lines(text[:min(len(text), fileMax)]) {
		line = strings.TrimSuffix(strings.TrimSpace(line), "/")
		if GoodRule(line) && len(rules) < rulesMax {
			rules = append(rules, line)
		}
	}
	return rules
}

// GoodRule says whether a rule is one: a path from the home's top, that Match and
// restic understand alike.
func GoodRule(rule string) bool {
	if rule == "" || len(rule) > 1000 || rule[0] == '#' || path.Clean(rule) != rule || strings.HasPrefix(rule, "/") || rule == "." || strings.HasPrefix(rule, "..") ||
		strings.Contains(rule, "**") || strings.ContainsAny(rule, "\x00\r\n") {
		return false
	}
	for part := range strings.SplitSeq(rule, "/") { // as both take it apart
		if _, err := path.Match(part, ""); err != nil {
			return false
		}
	}
	return true
}

// Match says whether a path, or a folder that it is in, is what a rule leaves
// out: each part of the rule (with * and ? within a name) is a part of the path.
func Match(rule, p string) bool {
	for {
		part, rest, more := strings.Cut(rule, "/")
		name, below, deeper := strings.Cut(p, "/")
		if ok, err := path.Match(part, name); err != nil || !ok {
			return false
		}
		if !more {
			return true
		}
		if !deeper {
			return false
		}
		rule, p = rest, below
	}
}
