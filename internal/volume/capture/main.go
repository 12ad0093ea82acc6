package capture

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Main captures, and prints a line of JSON for each thing that came of it. It
// runs in the jail.
func Main(request string, out io.Writer) error {
	syscall.Umask(0o077)
	var r Request
	if err := json.Unmarshal([]byte(request), &r); err != nil {
		return fmt.Errorf("read what to capture: %w", err)
	}
	return Run(r, Home, Out, out)
}

// Run is Main with places of its own.
func Run(r Request, home, copies string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.Millis)*time.Millisecond)
	defer cancel()
	w := bufio.NewWriter(out)
	c := &capture{r: r, home: home, copies: copies, say: json.NewEncoder(w), old: map[string]kept{}, now: map[string]kept{}, rules: make([]Line, len(r.Rules))}
	for i, rule := range r.Rules {
		c.rules[i].Rule = rule
	}
	c.own()
	c.load()
	c.walk(ctx)
	if c.cut != "" {
		c.line(Line{Cut: c.cut})
	}
	for _, l := range c.rules {
		c.line(l)
	}
	c.save()
	c.line(Line{Done: true})
	return errors.Join(c.err, w.Flush())
}

type capture struct {
	r            Request
	home, copies string
	say          *json.Encoder
	old, now     map[string]kept // by path
	rules        []Line
	used         int64
	bytes        int    // of the paths in now
	cut          string // why databases were passed over
	err          error
}

// Bounds of what is remembered and said of databases: a home can have a file of a
// page for each of its names.
const (
	databasesMax = 5000
	pathsMax     = 2 << 20
)

// kept is a copy of an earlier run. Print is what the database looked like before
// it was made.
type kept struct {
	Path  []byte `json:"path"`
	Print string `json:"print"`
	Copy  string `json:"copy"`
	Why   string `json:"why"`
	Again bool   `json:"again"` // it may do better without a change
}

// own adds the person's rules.
func (c *capture) own() {
	f, err := os.OpenFile(filepath.Join(c.home, Excludes), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return
	}
	b, err := io.ReadAll(io.LimitReader(f, fileMax))
	if err != nil {
		return
	}
	for _, rule := range ParseRules(string(b)) {
		c.r.Rules = append(c.r.Rules, rule)
		c.rules = append(c.rules, Line{Rule: rule, Own: true})
	}
}

const indexName = "index.json"

func (c *capture) line(l Line) {
	if err := c.say.Encode(l); err != nil && c.err == nil {
		c.err = err
	}
}

// load reads what an earlier run kept. One that cannot be read kept nothing.
func (c *capture) load() {
	b, err := os.ReadFile(filepath.Join(c.copies, indexName))
	var list []kept
	if err != nil || json.Unmarshal(b, &list) != nil {
		return
	}
	for _, k := range list {
		c.old[string(k.Path)] = k
	}
}

// save writes the index and removes the copies that are not in it.
func (c *capture) save() {
	keep := map[string]bool{indexName: true}
	list := make([]kept, 0, len(c.now))
	for _, k := range c.now {
		list = append(list, k)
		keep[k.Copy] = true
	}
	b, err := json.Marshal(list)
	if err == nil {
		err = os.WriteFile(filepath.Join(c.copies, indexName), b, 0o600)
	}
	names, lerr := os.ReadDir(c.copies)
	c.err = errors.Join(c.err, err, lerr)
	for _, n := range names {
		if !keep[n.Name()] {
			c.err = errors.Join(c.err, os.Remove(filepath.Join(c.copies, n.Name())))
		}
	}
}

func (c *capture) measure(rule int, at string) {
	if st, err := stat(at); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		c.rules[rule].Files++
		c.rules[rule].Bytes += st.Blocks * 512
	}
}

// magic is how a database begins.
const magic = "SQLite format 3\x00"

// pageMin divides the size of every database: so nearly all other files need
// not be opened.
const pageMin = 512

func (c *capture) look(ctx context.Context, at, p string) {
	st, err := stat(at)
	if err != nil || st.Size < pageMin || st.Size%pageMin != 0 {
		return
	}
	if len(c.now) >= databasesMax || c.bytes+len(p) > pathsMax {
		if _, ok := header(at); ok {
			c.cut = "there are too many"
		}
		return
	}
	old, known := c.old[p]
	print := fingerprint(at)
	if known && old.Print == print && !old.Again {
		if _, err := os.Lstat(filepath.Join(c.copies, old.Copy)); err == nil || old.Copy == "" {
			c.took(at, p, old, st.Size)
			return
		}
	}
	wal, ok := header(at)
	if !ok {
		return
	}
	k := kept{Path: []byte(p), Print: print}
	switch {
	case !sidesAreFiles(at): // SQLite would wait for who writes into a FIFO
		k.Why, k.Again = "what is beside it under a name of SQLite's is no file", true
	case int(st.Uid) != os.Geteuid():
		k.Why = "it belongs to another account of the home"
	case st.Size > c.r.One || c.used+st.Size > c.r.All:
		k.Why, k.Again = "it is too large to be copied", true // others may have become smaller
	case ctx.Err() != nil:
		k.Why, k.Again = "there was no time left to copy it", true
	default:
		sum := sha256.Sum256([]byte(p))
		k.Copy = hex.EncodeToString(sum[:16])
		if err := c.copyDatabase(ctx, at, k.Copy, st, wal); err != nil {
			k.Copy, k.Why, k.Again = "", err.Error(), errors.Is(err, errInUse) || ctx.Err() != nil
		}
	}
	c.took(at, p, k, st.Size)
}

// took says what came of a database.
func (c *capture) took(at, p string, k kept, size int64) {
	c.now[p] = k
	c.bytes += len(p)
	l := Line{Path: []byte(p), Copy: k.Copy, Why: k.Why}
	if k.Copy != "" {
		c.used += size
		if st, err := stat(at); err == nil {
			l.Nano = st.Mtim.Nano()
		}
		for _, end := range sides {
			st, err := stat(at + end)
			switch {
			case err != nil:
			case sideOf(at, end, st):
				l.Nano = max(l.Nano, st.Mtim.Nano())
				l.Beside = append(l.Beside, end)
			default:
				l.Other = append(l.Other, end)
			}
		}
	}
	c.line(l)
}

// fingerprint changes when a database or its log does. SQLite may change the log's
// ctime by opening it.
func fingerprint(at string) string {
	var b strings.Builder
	for _, end := range []string{"", "-wal", "-journal"} {
		st, err := stat(at + end)
		if err == nil {
			fmt.Fprint(&b, st.Ino, " ", st.Size, " ", st.Mtim.Nano())
			if end == "" {
				fmt.Fprint(&b, " ", st.Ctim.Nano())
			}
		}
		b.WriteByte(';')
	}
	return b.String()
}

func stat(at string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Lstat(at, &st)
	return st, err
}
