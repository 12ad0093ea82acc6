package restore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

// shownChanges is how many changes a preview names.
const shownChanges = 1000

var snapshotID = regexp.MustCompile(`^[0-9a-f]{8,64}$`)

// NoSnapshot is the error for a snapshot that is not there.
func NoSnapshot() error {
	return station.Errorf(station.ErrNotFound, "no_snapshot", "There is no such snapshot; list them.")
}

func checkRequest(snapshot string, q station.RestoreRequest) error {
	if !snapshotID.MatchString(snapshot) {
		return NoSnapshot()
	}
	if _, err := files.ParsePath(q.Path); err != nil {
		return err
	}
	if q.Where != "beside" && q.Where != "in_place" {
		return station.Errorf(station.ErrInvalid, "bad_where", "Restore beside or in_place.")
	}
	if q.Exact && q.Where != "in_place" {
		return station.Errorf(station.ErrInvalid, "bad_exact", "Only a restore in place can be exact.")
	}
	return nil
}

// looked is what a restore will do.
type looked struct {
	path     files.Path
	listing  *os.File // lines of files.Was; removed already
	names    int64    // in it
	whole    int64    // the bytes of all files in it
	compared files.Compared
	shown    []files.Diff // in place: the first of them
	steps    bytes.Buffer // in place: lines of the plan; not for a preview
	// runs are the paths that differ, as restic is to fetch them; all: so many that
	// all is fetched.
	all  bool
	runs [][]string
}

func (l *looked) close() { l.listing.Close() }

// Preview says what a restore would do, and does nothing.
func (m *Manager) Preview(ctx context.Context, user station.ID, snapshot string, q station.RestoreRequest) (station.RestorePreview, error) {
	out := station.RestorePreview{Changes: []station.RestoreChange{}}
	if err := checkRequest(snapshot, q); err != nil {
		return out, err
	}
	ws, err := m.o.Server.Workstation(ctx, user)
	if err != nil {
		return out, err
	}
	repo, err := m.o.Server.Repository(ctx, ws, snapshot)
	if err != nil {
		return out, err
	}
	l, err := m.look(ctx, &job{ws: ws, user: user, repo: repo}, snapshot, q, true)
	if err != nil {
		return out, err
	}
	defer l.close()
	out.Bytes = l.bytes()
	if q.Where == "beside" {
		out.Adds = l.names
	} else {
		out.Adds, out.Replace, out.Trash, out.Same = l.compared.Adds, l.compared.Replaces, l.compared.Trashes, l.compared.Same
		for _, d := range l.shown {
			out.Changes = append(out.Changes, station.RestoreChange{Path: d.Path.String(), Change: d.Change, Size: d.Size})
		}
	}
	room, err := m.o.Server.Reserve(ctx, user, l.bytes(), l.files())
	if p, ok := errors.AsType[*station.Problem](err); ok && errors.Is(err, station.ErrNoSpace) {
		out.Refused = p.Sentence
		return out, nil
	}
	if err == nil {
		room.Close()
	}
	return out, err
}

// bytes is how much is fetched.
func (l *looked) bytes() int64 {
	if l.all {
		return l.whole
	}
	return l.compared.Bytes
}

// files is how many names come into the home.
func (l *looked) files() int64 {
	if l.all {
		return l.names
	}
	return l.compared.Adds + l.compared.Replaces
}

// look reads the snapshot's listing and, for in place, has the helper compare it
// with the home. preview: nothing will be done, so no steps are kept.
func (m *Manager) look(ctx context.Context, j *job, snapshot string, q station.RestoreRequest, preview bool) (_ *looked, err error) {
	p, err := files.ParsePath(q.Path)
	if err != nil {
		return nil, err
	}
	l := &looked{path: p, all: q.Where == "beside", runs: [][]string{{string(p)}}}
	if p.Home() {
		l.runs = [][]string{nil}
	}
	if l.listing, err = spill(m.records.dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	w := bufio.NewWriterSize(l.listing, 256<<10)
	out := json.NewEncoder(w)
	err = j.repo.Look(ctx, snapshot, string(p), func(f restic.Found) error {
		if f.Path == "" {
			return nil // the home itself
		}
		l.names++
		was := files.Was{Path: f.Path, Kind: kindOf(f.Type), Mode: modeOf(f.Mode), MTime: f.MTime, Target: f.Target}
		if was.Kind == files.KindFile {
			if f.Size < 0 || l.whole+f.Size < l.whole {
				return station.Errorf(station.ErrConflict, "bad_snapshot", "The snapshot cannot be restored: it has a file of no size. Take another one.")
			}
			was.Size = f.Size
			l.whole += f.Size
		}
		return out.Encode(was)
	})
	if err = errors.Join(err, w.Flush()); err != nil {
		return nil, err
	}
	if l.names == 0 && !p.Home() {
		return nil, station.Errorf(station.ErrNotFound, "not_in_snapshot", "The snapshot has no %q; look for it in another one.", p.String())
	}
	if _, err := l.listing.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the listing: %w", err)
	}
	if q.Where == "in_place" {
		err = m.compare(ctx, j, l, q.Exact, preview)
	}
	return l, err
}

// spill is a file without a name, for what may be too much for memory.
func spill(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".listing-*")
	if err == nil {
		err = os.Remove(f.Name())
	}
	if err != nil {
		return nil, fmt.Errorf("make a file for the listing: %w", err)
	}
	return f, nil
}

// compare has the helper compare the listing with the home.
func (m *Manager) compare(ctx context.Context, j *job, l *looked, exact, preview bool) error {
	helper, err := m.o.Server.Helper(ctx, j.user)
	if err != nil {
		return err
	}
	var left func(path string) bool
	if exact {
		if left, err = m.leftOut(ctx, j, helper); err != nil {
			return err
		}
	}
	res, err := helper.Do(ctx, filesapi.Request{Method: http.MethodPost, Path: filesapi.PathCompare,
		Query: url.Values{"path": {l.path.String()}}, Body: io.NopCloser(l.listing), Length: -1})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	take := taker{looked: l, preview: preview}
	in := json.NewDecoder(bufio.NewReader(res.Body))
	for {
		var line filesapi.Compared
		if err := in.Decode(&line); err != nil {
			return station.Errorf(station.ErrUnavailable, "no_files", "The home could not be compared with the snapshot; try again in a moment.").Because(err)
		}
		switch {
		case line.Failure != nil:
			return station.Errorf(station.ErrConflict, line.Failure.Code, "%s", line.Failure.Sentence)
		case line.Done != nil:
			trashes := l.compared.Trashes
			l.compared = *line.Done
			l.compared.Trashes = trashes
			take.end()
			return nil
		case line.Diff == nil:
			continue
		case line.Diff.Change == "trash":
			if !exact || left(string(line.Diff.Path)) {
				continue
			}
			l.compared.Trashes++
		}
		if err := take.diff(*line.Diff); err != nil {
			return err
		}
	}
}

func kindOf(restic string) files.Kind {
	switch restic {
	case "file":
		return files.KindFile
	case "dir":
		return files.KindFolder
	case "symlink":
		return files.KindSymlink
	case "fifo":
		return files.KindFIFO
	case "socket":
		return files.KindSocket
	}
	return files.KindDevice
}

// modeOf is Go's mode as chmod(2) has it.
func modeOf(m uint32) uint32 {
	mode := fs.FileMode(m)
	out := uint32(mode.Perm())
	for bit, unix := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&bit != 0 {
			out |= unix
		}
	}
	return out
}

// taker takes in differences, of which there may be millions.
type taker struct {
	*looked
	preview bool
	paths   []string        // to fetch; each that is below another comes with it
	roots   map[string]bool // the folders among them
	size    int             // of paths, in bytes
}

// diff takes in one. A folder comes before what is in it.
func (t *taker) diff(d files.Diff) error {
	if len(t.shown) < shownChanges {
		t.shown = append(t.shown, d)
	}
	var step files.PlanLine
	switch d.Change {
	case "trash":
		step.Extra = &d.Path
	case "mode":
		step.Path, step.Mode = &d.Path, &d.Mode
	default:
		t.fetch(d)
		if d.Folder {
			step.Folder = d.Was
		}
	}
	if t.preview || step == (files.PlanLine{}) {
		return nil
	}
	return json.NewEncoder(&t.steps).Encode(step)
}

func (t *taker) fetch(d files.Diff) {
	if t.all || below(d.Was, t.roots) {
		return
	}
	t.paths, t.size = append(t.paths, d.Was), t.size+len(d.Was)
	if t.all = len(t.paths) > batch*batches || t.size > batchBytes*batches; t.all {
		t.paths, t.roots = nil, nil
		return
	}
	if d.Folder {
		if t.roots == nil {
			t.roots = map[string]bool{}
		}
		t.roots[d.Was] = true
	}
}

// end decides what is fetched: before room is set aside for it.
func (t *taker) end() {
	if t.all {
		return
	}
	if runs, ok := split(t.paths); ok {
		t.runs = runs
		return
	}
	t.all = true
}

// below says whether a folder on the way to p is in the set.
func below(p string, folders map[string]bool) bool {
	for i := strings.LastIndexByte(p, '/'); i > 0; i = strings.LastIndexByte(p[:i], '/') {
		if folders[p[:i]] {
			return true
		}
	}
	return false
}

// plan is what the helper reads.
func (l *looked) plan(q station.RestoreRequest, label string) ([]byte, error) {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	err := out.Encode(files.Plan{Path: l.path, Beside: q.Where == "beside", Label: label, Whole: l.all})
	b.Write(l.steps.Bytes())
	return b.Bytes(), err
}
