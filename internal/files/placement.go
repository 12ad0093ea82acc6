package files

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// What was fetched from a snapshot lies in a folder of its own in staging,
// restore-ID, until it is placed:
//
//	tree/…    what was fetched, by its path from the home's top
//	plan      what is to be done: a Plan, then PlanLines
//	steps     each step of it, written whole before the first is done
//	state     how far it is: a placing
//	back      the steps of undoing it
//	failed    those of the last run that could not be done
//
// Each step is one rename, or none: a file is the old one or the new one, and a
// step that was done is seen to be. So placing that was cut off goes on by doing
// all steps again. What is replaced gets the place in the tree of what replaces
// it; in the end the tree holds what was replaced, and goes to the trash.
const (
	restorePrefix = "restore-"
	treeName      = "tree"
	planName      = "plan"
	stepsName     = "steps"
	backName      = "back"
	failedName    = "failed"
	stateName     = "state"
)

// Plan says how a fetched tree is placed.
type Plan struct {
	Path   Path   `json:"path"` // what was asked for
	Beside bool   `json:"beside,omitempty"`
	Label  string `json:"label"` // of a moment, in words, for names
	// Whole: all that the snapshot has at Path was fetched; else what differed then,
	// and Folders say which of the tree's folders have all that is in them.
	Whole bool `json:"whole,omitempty"`
}

// PlanLine is one thing more that the placing does: an extra of the home that
// goes to the trash, or a mode; or a folder that was fetched whole, as in Was.
type PlanLine struct {
	Extra  *Path  `json:"extra,omitempty"`
	Folder string `json:"folder,omitempty"`

	Path *Path   `json:"path,omitempty"`
	Mode *uint32 `json:"mode,omitempty"`
}

// Placed says how a restore's placing went.
type Placed struct {
	Phase   string `json:"phase"`             // prepared, placing, placed, undoing, undone
	Into    Path   `json:"into,omitempty"`    // beside: where it is
	Trashed Path   `json:"trashed,omitempty"` // the id in the trash of what was replaced, or taken back; empty: nothing was
	// TrashedIno is the inode of that: another thing of that id is not it.
	TrashedIno uint64 `json:"trashed_ino,omitempty"`
	Whole      bool   `json:"whole,omitempty"`  // that is the tree from the home's top, not only what was asked for
	Placed     int64  `json:"placed"`           // how many steps were done
	Failed     int64  `json:"failed,omitempty"` // how many could not be
	Why        string `json:"why,omitempty"`    // the first that could not be
}

// The phases of a placing.
const (
	PhasePrepared = "prepared" // nothing is changed
	PhasePlacing  = "placing"
	PhasePlaced   = "placed"
	PhaseUndoing  = "undoing"
	PhaseUndone   = "undone"
)

// placement is one restore's open folder.
type placement struct {
	home *Home
	dir  *os.File
	id   string
	plan Plan
	now  Placed
}

// checkRestoreID says whether an id is one of a restore.
func checkRestoreID(id string) error {
	for _, c := range id {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			id = ""
			break
		}
	}
	if id == "" || len(id) > 64 {
		return station.Errorf(station.ErrInvalid, "bad_id", "That is no restore's id; list the restores.")
	}
	return nil
}

// RestoreFolder is where the server puts what it fetched, from the home's top: a
// folder with tree and plan is moved there. Staging is made for it.
func (h *Home) RestoreFolder(id string) (Path, error) {
	if err := checkRestoreID(id); err != nil {
		return "", err
	}
	dir, err := h.makeFolder(stagingDir)
	if err != nil {
		return "", err
	}
	real, err := h.resolve(stagingDir)
	return real.Join(restorePrefix + id), explain(stagingDir, errors.Join(err, dir.Close()))
}

// openPlacement opens what there is of a restore.
func (h *Home) openPlacement(id string) (*placement, error) {
	if err := checkRestoreID(id); err != nil {
		return nil, err
	}
	stage, err := h.folder(stagingDir)
	if err != nil {
		return nil, explain(stagingDir, err)
	}
	defer stage.Close()
	dir, err := openFolder(stage, restorePrefix+id)
	if errors.Is(err, unix.ENOENT) {
		return nil, station.Errorf(station.ErrNotFound, "no_restore", "There is nothing left of that restore.").Because(err)
	}
	if err != nil {
		return nil, explain(stagingDir, err)
	}
	p := &placement{home: h, dir: dir, id: id, now: Placed{Phase: PhasePrepared}}
	err = p.readState()
	if err == nil {
		err = p.readPlan(nil)
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return p, nil
}

func (p *placement) close() { p.dir.Close() }

func damaged(what string, err error) error {
	return station.Errorf(station.ErrConflict, "restore_damaged",
		"What the restore kept of itself (%s) cannot be read; what it had replaced is in the trash, or in %s.", what, stagingDir).Because(inert(err))
}

func (p *placement) readState() error {
	f, _, err := openRegular(p.dir, stateName)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return damaged(stateName, err)
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, infoMax)).Decode(&p.now); err != nil {
		return damaged(stateName, err)
	}
	return nil
}

// keep writes how far the placing is.
func (p *placement) keep() error {
	return p.write(stateName, func(w *bufio.Writer) error { return json.NewEncoder(w).Encode(p.now) })
}

// write makes a file of the restore's folder, whole or not at all.
func (p *placement) write(name string, fill func(*bufio.Writer) error) error {
	tmp := name + ".new"
	if err := unix.Unlinkat(int(p.dir.Fd()), tmp, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return explain(stagingDir, err)
	}
	f, err := open(p.dir, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return explain(stagingDir, err)
	}
	w := bufio.NewWriter(f)
	err = errors.Join(fill(w), w.Flush())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = unix.Renameat(int(p.dir.Fd()), tmp, int(p.dir.Fd()), name)
	}
	return explain(stagingDir, errors.Join(err, syncFolder(p.dir)))
}

// lines reads a file of the restore's folder as lines of JSON.
func lines[T any](p *placement, name string, each func(T) error) error {
	f, _, err := openRegular(p.dir, name)
	if err != nil {
		return damaged(name, err)
	}
	defer f.Close()
	in := json.NewDecoder(bufio.NewReader(f))
	for {
		var v T
		if err := in.Decode(&v); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return damaged(name, err)
		}
		if err := each(v); err != nil {
			return err
		}
	}
}

// readPlan reads the plan, and its lines where they are asked for.
func (p *placement) readPlan(each func(PlanLine) error) error {
	f, _, err := openRegular(p.dir, planName)
	if err != nil {
		return damaged(planName, err)
	}
	defer f.Close()
	in := json.NewDecoder(bufio.NewReader(f))
	if err := in.Decode(&p.plan); err != nil {
		return damaged(planName, err)
	}
	for each != nil {
		var l PlanLine
		if err := in.Decode(&l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return damaged(planName, err)
		}
		if err := each(l); err != nil {
			return err
		}
	}
	return nil
}

// Restored says how far a restore's placing is. The error wraps
// station.ErrNotFound when the home has nothing of it.
func (h *Home) Restored(_ context.Context, id string) (Placed, error) {
	p, err := h.openPlacement(id)
	if err != nil {
		return Placed{}, err
	}
	defer p.close()
	return p.now, nil
}

// besideName is what something is called next to what it was: its own name and
// a label.
func besideName(base, label string, n int) string {
	end := " (" + label + ")"
	if n > 1 {
		end = fmt.Sprintf(" (%s, %d)", label, n)
	}
	if most := maxName - len(end); len(base) > most {
		base = strings.ToValidUTF8(base[:most], "") // no half character
	}
	return base + end
}

func goneFromTrash(err error) error {
	return station.Errorf(station.ErrGone, "trash_emptied",
		"What the restore replaced is no longer in the trash, so it cannot be undone; restore from an earlier snapshot instead.").Because(err)
}
