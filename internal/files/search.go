package files

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// What a search may cost.
const (
	searchTime    = 10 * time.Second
	searchEntries = 1_000_000
	matchesMax    = 10_000
	matchesUsual  = 1_000
	queryMax      = 1_000    // bytes
	fileMax       = 16 << 20 // bytes of a file that is looked into
	lineMax       = 1 << 20  // bytes of a line that is looked into
	textMax       = 400      // bytes of a line that are shown
)

// Query says what to look for.
type Query struct {
	Text    string        // a part of a name, or of a line
	Regexp  bool          // Text is a regular expression (RE2)
	Case    bool          // case counts
	Hidden  bool          // also names that begin with a dot, and what is below them
	Without []string      // names to leave out with all below them; nil: node_modules
	Limit   int           // matches; default 1000, at most 10000
	Time    time.Duration // default and at most 10 s
}

// Match is one place.
type Match struct {
	Entry  Entry  `json:"entry"`            // without what a link leads to
	Line   int    `json:"line,omitempty"`   // from 1; 0: the name matched
	Column int    `json:"column,omitempty"` // bytes into the line, from 1
	Text   string `json:"text,omitempty"`   // the line, or the part of it around the match; not inert
}

// Searched says what was looked at.
type Searched struct {
	Matches int    `json:"matches"`
	Entries int    `json:"entries"`                                   // names looked at
	Bytes   int64  `json:"bytes"`                                     // of contents
	Skipped int    `json:"skipped"`                                   // files too large, binary or closed to us
	Cut     string `json:"cut,omitempty" enum:"matches,time,entries"` // why it ended early
}

// errCut ends a walk that has come to a limit.
var errCut = errors.New("cut")

// searcher is one search under way.
type searcher struct {
	home    *Home
	from    Path
	q       Query
	find    finder
	found   func(Match) error
	content bool
	done    Searched
}

// SearchNames looks for names below p and calls found for each, in the order of
// paths. An error of found ends it.
func (h *Home) SearchNames(ctx context.Context, p Path, q Query, found func(Match) error) (Searched, error) {
	return h.search(ctx, p, q, false, found)
}

// SearchContent looks into the text files below p and calls found for each line
// that matches. Files over 16 MiB and those with zero bytes are left out.
func (h *Home) SearchContent(ctx context.Context, p Path, q Query, found func(Match) error) (Searched, error) {
	return h.search(ctx, p, q, true, found)
}

func (h *Home) search(ctx context.Context, p Path, q Query, content bool, found func(Match) error) (Searched, error) {
	s := searcher{home: h, from: p, q: q, found: found, content: content}
	if err := s.check(); err != nil {
		return s.done, err
	}
	dir, err := h.folder(s.from)
	if err != nil {
		return s.done, explain(p, err)
	}
	defer dir.Close()
	limited, cancel := context.WithTimeout(ctx, s.q.Time)
	defer cancel()
	err = walk(limited, dir, "", 0, func(v visited) error { return s.visit(limited, v) }, func(Path) { s.done.Skipped++ })
	switch {
	case ctx.Err() != nil:
		return s.done, ctx.Err()
	case limited.Err() != nil:
		s.done.Cut = "time"
	case errors.Is(err, errCut):
	case err != nil:
		return s.done, explain(p, err)
	}
	return s.done, nil
}

func (s *searcher) check() (err error) {
	if s.from, err = s.from.Clean(); err != nil {
		return err
	}
	if s.q.Text == "" || len(s.q.Text) > queryMax {
		return station.Errorf(station.ErrInvalid, "bad_query", "Look for 1 to %d bytes of text.", queryMax)
	}
	if s.q.Without == nil {
		s.q.Without = []string{"node_modules"}
	}
	if s.q.Limit <= 0 {
		s.q.Limit = matchesUsual
	}
	s.q.Limit = min(s.q.Limit, matchesMax)
	if s.q.Time <= 0 || s.q.Time > searchTime {
		s.q.Time = searchTime
	}
	if s.q.Case && !s.q.Regexp {
		text := []byte(s.q.Text)
		s.find = func(_ context.Context, b []byte) []int {
			if i := bytes.Index(b, text); i >= 0 {
				return []int{i, i + len(text)}
			}
			return nil
		}
		return nil
	}
	expr := s.q.Text
	if !s.q.Regexp {
		expr = regexp.QuoteMeta(expr)
	}
	if !s.q.Case {
		expr = "(?i)" + expr
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return station.Errorf(station.ErrInvalid, "bad_query", "This is no regular expression that can be used; put a backslash before signs that mean themselves.").Because(err)
	}
	s.find = patiently(re)
	return nil
}

func (s *searcher) visit(ctx context.Context, v visited) error {
	if v.name[0] == '.' && !s.q.Hidden || slices.Contains(s.q.Without, v.name) || s.from.Join(string(v.rel)) == stagingDir {
		return errSkip
	}
	if s.done.Entries++; s.done.Entries > searchEntries {
		s.done.Cut = "entries"
		return errCut
	}
	if s.content {
		return s.look(ctx, v)
	}
	if s.find(ctx, []byte(v.name)) == nil {
		return nil
	}
	return s.tell(Match{Entry: s.entry(v)})
}

func (s *searcher) entry(v visited) Entry {
	p := s.from.Join(string(v.rel))
	e := Entry{Path: p, Name: Path(v.name), Kind: kindOf(v.st.Mode), Mode: v.st.Mode & 0o7777, MTime: time.Unix(v.st.Mtim.Unix()).UTC()}
	if e.Kind == KindFile {
		e.Size = v.st.Size
	}
	return e
}

func (s *searcher) tell(m Match) error {
	if s.done.Matches == s.q.Limit {
		s.done.Cut = "matches"
		return errCut
	}
	s.done.Matches++
	return s.found(m)
}

// look looks into one file.
func (s *searcher) look(ctx context.Context, v visited) error {
	if v.st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	if v.st.Size > fileMax {
		s.done.Skipped++
		return nil
	}
	f, _, err := openRegular(v.dir, v.name)
	if err != nil {
		s.done.Skipped++
		return nil
	}
	defer f.Close()
	err = s.lines(ctx, f, v)
	if errors.Is(err, errBinary) {
		s.done.Skipped++
		return nil
	}
	return err
}

var errBinary = errors.New("binary")

func (s *searcher) lines(ctx context.Context, f *os.File, v visited) error {
	r := bufio.NewReaderSize(io.LimitReader(contextReader{ctx, f}, fileMax), 64<<10)
	if head, _ := r.Peek(8 << 10); bytes.IndexByte(head, 0) >= 0 {
		return errBinary
	}
	var long []byte
	for n := 1; ; n++ {
		line, err := readLine(r, &long)
		s.done.Bytes += int64(len(line))
		if at := s.find(ctx, bytes.TrimRight(line, "\r\n")); at != nil && len(line) > 0 {
			if err := s.tell(Match{Entry: s.entry(v), Line: n, Column: at[0] + 1, Text: around(line, at)}); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil: // the disk: one file is no reason to end
			s.done.Skipped++
			return nil
		}
	}
}

// readLine reads a line; of one that is longer than lineMax the beginning, and
// the rest is passed over. The result is valid until the next call.
func readLine(r *bufio.Reader, long *[]byte) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	*long = append((*long)[:0], line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = r.ReadSlice('\n')
		if len(*long) < lineMax {
			*long = append(*long, line...)
		}
	}
	return *long, err
}

// around is the part of a line that shows a match.
func around(line []byte, at []int) string {
	line = bytes.TrimRight(line, "\r\n")
	if len(line) > textMax {
		from := max(0, min(at[0]-textMax/4, len(line)-textMax))
		line = line[from:min(len(line), from+textMax)]
		for len(line) > 0 && !utf8.RuneStart(line[0]) {
			line = line[1:]
		}
	}
	return strings.ToValidUTF8(string(line), "\uFFFD")
}
