package files

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// step is one change of the home. Path is the home's, From the tree's.
type step struct {
	// Do is in (from the tree to the home), out (the other way), mode, none, or
	// gone: it cannot be done.
	Do   string `json:"do"`
	Path Path   `json:"path"`
	From Path   `json:"from"`
	// Ino is what comes in: when it is at Path, the step was done.
	Ino uint64 `json:"ino,omitempty"`
	// Fresh: nobody's place is taken.
	Fresh bool    `json:"fresh,omitempty"`
	Mode  *uint32 `json:"mode,omitempty"`
	Was   *uint32 `json:"was,omitempty"` // the mode before
}

// Place puts what was fetched into the home, as its plan says, or goes on with
// that. What cannot be placed is counted; all else is. What was replaced is in
// the trash then, as one thing, and Undo has it back. One at a time.
func (h *Home) Place(ctx context.Context, id string) (Placed, error) {
	h.placing.Lock()
	defer h.placing.Unlock()
	p, err := h.openPlacement(id)
	if err != nil {
		return Placed{}, err
	}
	defer p.close()
	if p.now.Phase == PhasePrepared {
		if err := p.decide(ctx); err != nil {
			return p.now, err
		}
	}
	if p.now.Phase == PhasePlacing {
		err = p.run(ctx, stepsName, PhasePlaced)
	}
	return p.now, err
}

// Undo takes back what Place did, or goes on with that: what was replaced is in
// its place again, and what had replaced it is in the trash. What could not be
// taken back (Failed) is in the trash, too; Undo again tries just that again.
func (h *Home) Undo(ctx context.Context, id string) (Placed, error) {
	h.placing.Lock()
	defer h.placing.Unlock()
	p, err := h.openPlacement(id)
	if err != nil {
		return Placed{}, err
	}
	defer p.close()
	switch {
	case p.now.Phase == PhasePrepared: // nothing was changed
		return p.now, p.finish(ctx, PhaseUndone)
	case p.now.Phase == PhasePlaced, p.now.Phase == PhasePlacing: // or as far as it came
		err = p.decideBack(ctx)
	case p.now.Phase == PhaseUndone && p.now.Failed > 0:
		err = p.againBack()
	}
	if err != nil {
		return p.now, err
	}
	if p.now.Phase == PhaseUndoing {
		err = p.run(ctx, backName, PhaseUndone)
	}
	return p.now, err
}

// run does all steps of a file, and puts away what is then in the tree.
func (p *placement) run(ctx context.Context, name, then string) error {
	err := unix.Mkdirat(int(p.dir.Fd()), treeName, 0o700) // of an undo there may be none
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return explain(stagingDir, err)
	}
	tree, err := openFolder(p.dir, treeName)
	if err != nil {
		return damaged(treeName, err)
	}
	defer tree.Close()
	if p.wasPutAway() {
		return p.finish(ctx, then)
	}
	err = p.write(failedName, func(w *bufio.Writer) error { return p.steps(ctx, tree, name, json.NewEncoder(w)) })
	if err != nil {
		return err
	}
	if err := unix.Syncfs(int(tree.Fd())); err != nil {
		return explain(stagingDir, err)
	}
	if err := p.prune(name); err != nil {
		return err
	}
	if err := p.putAway(ctx, tree); err != nil {
		return err
	}
	return p.finish(ctx, then)
}

// steps does all steps of a file, and writes down those that could not be done.
func (p *placement) steps(ctx context.Context, tree *os.File, name string, failed *json.Encoder) error {
	p.now.Placed, p.now.Failed, p.now.Why = 0, 0, ""
	return lines(p, name, func(s step) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := p.do(ctx, tree, s)
		if err == nil {
			p.now.Placed++
			return nil
		}
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || ctx.Err() != nil {
			return explain(s.Path, err) // it is undone, or goes on, when there is room
		}
		if p.now.Failed++; p.now.Why == "" {
			err = explain(s.Path, err)
			p.now.Why = err.Error()
			if problem, ok := errors.AsType[*station.Problem](err); ok {
				p.now.Why = problem.Sentence
			}
		}
		return failed.Encode(s)
	})
}

// finish ends a run whose tree is put away.
func (p *placement) finish(ctx context.Context, then string) error {
	if err := remove(ctx, p.dir, treeName, 0); err != nil {
		return explain(stagingDir, err)
	}
	p.now.Phase = then
	return p.keep()
}

// do does one step, or sees that it was done.
func (p *placement) do(ctx context.Context, tree *os.File, s step) error {
	switch s.Do {
	case "mode":
		return p.mode(s)
	case "none":
		return nil
	case "gone":
		return station.Errorf(station.ErrConflict, "changed_meanwhile",
			"%q was removed while the snapshot was fetched; restore it again.", shorten(s.Path))
	}
	treeDir, treeBase, err := p.inTree(tree, s.From)
	if err != nil {
		if s.Do == "in" && errors.Is(err, unix.ENOENT) {
			return nil // it has left the tree
		}
		return err
	}
	defer treeDir.Close()
	if s.Do == "out" {
		return p.out(treeDir, treeBase, s)
	}
	st, err := lstat(treeDir, treeBase)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	dir, base, err := p.home.place(s.Path)
	if errors.Is(err, unix.ENOENT) {
		parent, _ := s.Path.split()
		if err := p.home.parents(parent); err != nil {
			return err
		}
		dir, base, err = p.home.place(s.Path)
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if now, err := lstat(dir, base); err == nil && now.Ino == s.Ino {
		return nil
	}
	if st.Ino != s.Ino { // it was done, and what came in was replaced since
		return nil
	}
	return unlocked(treeDir, dir, func() error {
		err := moveName(treeDir, treeBase, dir, base)
		if errors.Is(err, unix.EEXIST) && !s.Fresh {
			return swap(treeDir, treeBase, dir, base)
		}
		return err
	})
}

// out does a step that moves something from the home to the tree.
func (p *placement) out(treeDir *os.File, treeBase string, s step) error {
	dir, base, err := p.home.place(s.Path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if s.From.Home() { // in the place of an empty tree
		_ = unix.Unlinkat(int(treeDir.Fd()), treeBase, unix.AT_REMOVEDIR) // else the rename says why
	}
	err = unlocked(treeDir, dir, func() error { return moveName(dir, base, treeDir, treeBase) })
	if errors.Is(err, unix.ENOENT) {
		return nil // done, or gone by itself
	}
	return err
}

// inTree opens the folder of a path of the tree, making those that are not there.
func (p *placement) inTree(tree *os.File, from Path) (*os.File, string, error) {
	if from.Home() { // the tree itself
		dir, err := openFolder(p.dir, ".")
		return dir, treeName, err
	}
	dir, base, err := openBelow(tree, from)
	if !errors.Is(err, unix.ENOENT) {
		return dir, base, err
	}
	parent, _ := from.split()
	for i := range len(parent) + 1 {
		if i == len(parent) || parent[i] == '/' {
			up, name, err := openBelow(tree, parent[:i])
			if err != nil {
				return nil, "", err
			}
			err = unix.Mkdirat(int(up.Fd()), name, 0o700)
			up.Close()
			if err != nil && !errors.Is(err, unix.EEXIST) {
				return nil, "", err
			}
		}
	}
	return openBelow(tree, from)
}

// swap exchanges two names at once. A folder that is closed to its owner is
// opened for the moment: the kernel wants to write its "..".
func swap(a *os.File, aBase string, b *os.File, bBase string) error {
	try := func() error {
		return retry(func() error { return unix.Renameat2(int(a.Fd()), aBase, int(b.Fd()), bBase, unix.RENAME_EXCHANGE) })
	}
	err := try()
	if !errors.Is(err, unix.EACCES) {
		return err
	}
	x, _ := openFolder(a, aBase) // nil: no folder
	y, _ := openFolder(b, bBase)
	defer x.Close()
	defer y.Close()
	return unlocked(x, y, try)
}

// unlocked does what may be refused because a folder is closed to its owner, as
// those of Go's module cache are: then it is opened for the moment.
func unlocked(a, b *os.File, do func() error) error {
	err := do()
	if !errors.Is(err, unix.EACCES) {
		return err
	}
	opened := false
	for _, dir := range []*os.File{a, b} {
		var st unix.Stat_t
		if dir == nil || unix.Fstat(int(dir.Fd()), &st) != nil || st.Mode&0o300 == 0o300 || int(st.Uid) != os.Geteuid() {
			continue
		}
		if unix.Fchmod(int(dir.Fd()), st.Mode&0o7777|0o300) == nil {
			defer func() { _ = unix.Fchmod(int(dir.Fd()), st.Mode&0o7777) }() // as it was, or as near as can be
			opened = true
		}
	}
	if !opened {
		return err
	}
	return do()
}

func (p *placement) mode(s step) error {
	dir, base, err := p.home.place(s.Path)
	if errors.Is(err, unix.ENOENT) || s.Mode == nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if err = setMode(dir, base, *s.Mode&0o7777); errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
