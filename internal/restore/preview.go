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

func checkRequest(snapshot string, q station.RestoreRequest) error {
	if !snapshotID.MatchString(snapshot) {
		return station.Errorf(station.ErrNotFound, "no_snapshot", "There is no such snapshot; list them.")
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
	diffs    []files.Diff // in place; all
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
	repo, err := m.o.Server.Repository(ctx, ws)
	if err != nil {
		return out, err
	}
	l, err := m.look(ctx, &job{ws: ws, user: user, repo: repo}, snapshot, q)
	if err != nil {
		return out, err
	}
	defer l.close()
	out.Bytes = l.bytes()
	if q.Where == "beside" {
		out.Adds = l.names
	} else {
		out.Adds, out.Replace, out.Trash, out.Same = l.compared.Adds, l.compared.Replaces, l.compared.Trashes, l.compared.Same
		for _, d := range l.diffs[:min(len(l.diffs), shownChanges)] {
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
	if l.diffs == nil {
		return l.whole
	}
	return l.compared.Bytes
}

// files is how many names come into the home.
func (l *looked) files() int64 {
	if l.diffs == nil {
		return l.names
	}
	return l.compared.Adds + l.compared.Replaces
}

// look reads the snapshot's listing and, for in place, has the helper compare it
// with the home.
func (m *Manager) look(ctx context.Context, j *job, snapshot string, q station.RestoreRequest) (_ *looked, err error) {
	p, err := files.ParsePath(q.Path)
	if err != nil {
		return nil, err
	}
	l := &looked{path: p}
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
		err = m.compare(ctx, j, l, q.Exact)
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
func (m *Manager) compare(ctx context.Context, j *job, l *looked, exact bool) error {
	helper, err := m.o.Server.Helper(ctx, j.user)
	if err != nil {
		return err
	}
	res, err := helper.Do(ctx, filesapi.Request{Method: http.MethodPost, Path: filesapi.PathCompare,
		Query: url.Values{"path": {l.path.String()}}, Body: io.NopCloser(l.listing), Length: -1})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	l.diffs = []files.Diff{}
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
			return nil
		case line.Diff == nil:
			continue
		case line.Diff.Change == "trash":
			if !exact || m.o.Server.LeftOut(j.ws, string(line.Diff.Path)) {
				continue
			}
			l.compared.Trashes++
		}
		l.diffs = append(l.diffs, *line.Diff)
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

// includes are the paths to fetch for the differences: each that is below
// another comes with it. nil: all of the path.
func (l *looked) includes() []string {
	out := []string{}
	var roots []string
	for _, d := range l.diffs {
		if d.Change != "add" && d.Change != "replace" {
			continue
		}
		out = append(out, d.Was)
		if d.Folder {
			roots = append(roots, d.Was)
		}
	}
	within := map[string]bool{}
	for _, r := range roots {
		within[r] = true
	}
	kept := out[:0]
	for _, p := range out {
		if !below(p, within) {
			kept = append(kept, p)
		}
	}
	return kept
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
	_, whole := l.runs()
	err := out.Encode(files.Plan{Path: l.path, Beside: q.Where == "beside", Label: label, Whole: whole})
	for _, d := range l.diffs {
		switch d.Change {
		case "trash":
			err = errors.Join(err, out.Encode(files.PlanLine{Extra: &d.Path}))
		case "mode":
			err = errors.Join(err, out.Encode(files.PlanLine{Path: &d.Path, Mode: &d.Mode}))
		case "add", "replace":
			if d.Folder {
				err = errors.Join(err, out.Encode(files.PlanLine{Folder: d.Was}))
			}
		}
	}
	return b.Bytes(), err
}
