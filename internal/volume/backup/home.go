package backup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/idmap"
	"staithe/internal/station"
	"staithe/internal/volume/capture"
	"staithe/internal/volume/jail"
	"staithe/internal/volume/restic"
)

// Bounds of what is copied of databases for one snapshot.
const (
	captureTime = 60 * time.Second
	captureOne  = 512 << 20
	captureAll  = 2 << 30
	// captureMemory is twice what it needs with a home full of databases.
	captureMemory = 1 << 30
)

// homeSource is a workstation's home.
type homeSource struct {
	engine *Engine
	ws     station.Workstation

	mu    sync.Mutex
	own   []rule              // the person's, of the last snapshot
	bases map[uint64]struct{} // the databases that it had, by hash
}

// beside says whether a path is an index that SQLite keeps beside a database that is
// known: it changes when somebody reads.
func (h *homeSource) beside(p string) bool {
	of, ok := strings.CutSuffix(p, "-shm")
	if !ok {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok = h.bases[maphash.String(seed, of)]
	return ok
}

func (h *homeSource) wakes() bool { return true }

func (h *homeSource) rules() []rule {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append(append([]rule{}, usual...), h.own...)
}

func (h *homeSource) watch(ctx context.Context) (Changes, error) {
	if h.engine.o.Watch == nil {
		return nil, errNotWatched
	}
	return h.engine.o.Watch(ctx, h.ws, h.engine.o.Home(h.ws))
}

// prepare copies the home's databases, and measures what is left out. When that
// fails as a whole the snapshot is made without, and says so.
func (h *homeSource) prepare(ctx context.Context) (prepared, error) {
	p := prepared{folder: h.engine.o.Home(h.ws), done: func() {}}
	if _, err := os.Lstat(p.folder); err != nil {
		return p, station.Errorf(station.ErrNotFound, "no_home", "There is no home to make a snapshot of.").Because(err)
	}
	copies := filepath.Join(h.engine.o.Data, workDir, string(h.ws.ID), "sqlite")
	lines, err := h.capture(ctx, copies)
	if ctx.Err() != nil {
		return p, ctx.Err()
	}
	if err != nil {
		h.engine.o.Log.Warn("databases are in the snapshot as they are on the disk", "workstation", h.ws.ID, "err", err)
		p.left = append(p.left, station.Left{Rule: "*", Failed: true, Why: "Databases in use could not be copied first: in the snapshot they are as they were on the disk."})
	}
	p.add(lines, copies)
	h.mu.Lock()
	var own []rule
	h.bases = map[uint64]struct{}{}
	for _, l := range lines {
		if copyName.MatchString(l.Copy) && !slices.Contains(l.Other, "-shm") {
			h.bases[maphash.Bytes(seed, l.Path)] = struct{}{}
		}
		if l.Own && capture.GoodRule(l.Rule) {
			own = append(own, rule{l.Rule, ownWhy})
		}
	}
	if err == nil || len(own) > 0 { // else those of before go on
		h.own = own
	}
	h.mu.Unlock()
	for _, r := range h.rules() {
		p.excludes = append(p.excludes, restic.Top+"/"+r.pattern)
		left := station.Left{Rule: r.pattern, Why: r.why}
		for _, l := range lines {
			if l.Rule == r.pattern {
				left.Bytes, left.Files = l.Bytes, l.Files
			}
		}
		p.left = append(p.left, left)
	}
	return p, nil
}

const ownWhy = "You left it out, in ~/" + capture.Excludes + "."

var copyName = regexp.MustCompile(`^[0-9a-f]{32}$`)

// add takes in what capture said. It ran among what is hostile: only names that
// are of its kind count, and the launcher follows no link to them.
//
// What SQLite keeps beside a database must not be in the snapshot, as it belongs
// to other moments of it. That may come into being after the copy was made: so
// it is excluded by name where a database was changed lately, and covered
// where it is already there else, as each name costs restic time at each file.
func (p *prepared) add(lines []capture.Line, copies string) {
	slices.SortStableFunc(lines, func(a, b capture.Line) int { return cmp.Compare(b.Nano, a.Nano) })
	uncovered := int64(0)
	for _, l := range lines {
		switch {
		case l.Cut != "":
			p.left = append(p.left, station.Left{Rule: "*", Failed: true, Why: "Databases that are in the snapshot as they were on the disk, as " + strings.ToValidUTF8(l.Cut[:min(len(l.Cut), 300)], "\uFFFD") + "."})
		case l.Path == nil:
		case copyName.MatchString(l.Copy):
			if !p.cover(l, copies) {
				uncovered++
			}
		case l.Why != "" && len(p.left) < leftMax:
			why := strings.ToValidUTF8(l.Why[:min(len(l.Why), 300)], "\uFFFD")
			p.left = append(p.left, station.Left{Rule: strings.ToValidUTF8(string(l.Path), "\uFFFD"), Files: 1, Failed: true,
				Why: "A database that is in the snapshot as it was on the disk, which may be between two moments: " + why + "."})
		}
	}
	if uncovered > 0 {
		p.left = append(p.left, station.Left{Rule: "*", Files: uncovered, Failed: true,
			Why: "More databases than copies are put in the place of: in the snapshot they are as they were on the disk."})
	}
}

// cover has a database's copy stored in its place, and nothing of what is beside
// it; false: there would be too many, and all is stored as it is.
func (p *prepared) cover(l capture.Line, copies string) bool {
	covers := []jail.Overlay{{From: filepath.Join(copies, l.Copy), In: restic.Top, To: l.Path}}
	var excludes []string
	// A pattern of a name with U+FFFD would match others.
	if p.byName < excludedMax && !bytes.ContainsRune(l.Path, '\uFFFD') {
		for _, end := range sides {
			if !slices.Contains(l.Other, end) { // else something else than SQLite's has the name
				excludes = append(excludes, restic.Pattern(string(l.Path)+end))
			}
		}
	} else {
		for _, end := range l.Beside {
			if slices.Contains(sides, end) {
				covers = append(covers, jail.Overlay{In: restic.Top, To: append(bytes.Clone(l.Path), end...)})
			}
		}
	}
	if len(p.overlays)+len(covers) > overlaysMax {
		return false
	}
	p.byName++
	p.overlays, p.excludes = append(p.overlays, covers...), append(p.excludes, excludes...)
	return true
}

// sides are the ends of what SQLite keeps beside a database.
var sides = []string{"-wal", "-journal", "-shm"}

// leftMax and overlaysMax bound what a home full of databases costs.
const (
	leftMax     = 20
	overlaysMax = 6000
	excludedMax = 200
)

// capture runs staithe-backup capture in a jail, as the home's user.
func (h *homeSource) capture(ctx context.Context, copies string) ([]capture.Line, error) {
	ctx, cancel := context.WithTimeout(ctx, captureTime+10*time.Second)
	defer cancel()
	home := h.engine.o.Home(h.ws)
	q := capture.Request{Millis: int(captureTime / time.Millisecond), One: captureOne, All: captureAll,
		Foreign: h.engine.o.ForeignLocks != nil && h.engine.o.ForeignLocks(ctx, h.ws)}
	for _, r := range usual {
		q.Rules = append(q.Rules, r.pattern)
	}
	args, err := q.Args()
	if err != nil {
		return nil, err
	}
	if err := copiesFolder(home, copies); err != nil {
		return nil, err
	}
	const program = "/bin/capture"
	launcher := h.engine.o.Launcher
	spec := jail.Spec{Root: filepath.Dir(copies), Host: "capture", Args: append([]string{program}, args...), Env: []string{"GOMEMLIMIT=256MiB"},
		Memory: 8 << 30, Data: captureMemory, FileSize: captureOne + 64<<20}
	libs, err := jail.ProgramFiles(launcher)
	if err != nil {
		return nil, err
	}
	for _, lib := range libs { // none, but in tests
		spec.Binds = append(spec.Binds, jail.Bind{From: lib, To: lib, Exec: true, Follow: true})
	}
	spec.Binds = append(spec.Binds, jail.Bind{From: launcher, To: program, Exec: true})
	for to, from := range map[string]string{capture.Home: home, capture.Out: copies} {
		b := jail.Bind{From: from, To: to, Write: true}
		if os.Geteuid() == 0 {
			tree, uid, err := idmap.HomeTree(h.ws, from)
			if err != nil {
				return nil, err
			}
			defer tree.Close()
			spec.UID, spec.Files = uid, append(spec.Files, tree)
			b.File = len(spec.Files)
		}
		spec.Binds = append(spec.Binds, b)
	}
	var out, said limited
	p, err := jail.Start(ctx, launcher, spec, &out, &said)
	if err != nil {
		return nil, err
	}
	if err := p.Wait(); err != nil {
		return nil, fmt.Errorf("copy the databases: %w: %.500q", err, said.String())
	}
	return readLines(out.Bytes())
}

func readLines(b []byte) ([]capture.Line, error) {
	var lines []capture.Line
	for d := json.NewDecoder(bytes.NewReader(b)); ; {
		var l capture.Line
		if err := d.Decode(&l); err != nil {
			return lines, fmt.Errorf("read what was captured: %w", err)
		}
		if l.Done {
			return lines, nil
		}
		lines = append(lines, l)
	}
}

// limited keeps so much of what is written.
type limited struct{ bytes.Buffer }

const limitedMax = 8 << 20

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > limitedMax {
		return 0, errors.New("too much is said")
	}
	return l.Buffer.Write(p)
}

// copiesFolder makes the folder for copies, which belongs to the home's owner: as
// it is mounted like a home, what is made in it is on the disk like the home's.
func copiesFolder(home, copies string) error {
	if err := os.Mkdir(copies, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the folder for copies: %w", err)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Lstat(home, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: home, Err: err}
	}
	if err := os.Lchown(copies, int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("make the folder for copies: %w", err)
	}
	return nil
}
