package files

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ForgetRestore removes what is kept of a restore; it cannot be undone then. What
// it replaced is in the trash, or comes there now, when it was not placed or
// undone to its end.
func (h *Home) ForgetRestore(ctx context.Context, id string) error {
	if err := checkRestoreID(id); err != nil {
		return err
	}
	stage, err := h.folder(stagingDir)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return explain(stagingDir, err)
	}
	defer stage.Close()
	h.placing.Lock()
	defer h.placing.Unlock()
	return h.forget(ctx, stage, restorePrefix+id)
}

// forgetOld is ForgetRestore of a folder of staging that nobody can undo any
// more; another stays.
func (h *Home) forgetOld(ctx context.Context, stage *os.File, name string) error {
	h.placing.Lock()
	defer h.placing.Unlock()
	if recent(stage, name) {
		return nil
	}
	return h.forget(ctx, stage, name)
}

// forget removes a restore's folder. Only when it says itself that nothing was
// placed its tree is no more than what was fetched; else that is the person's,
// and goes to the trash.
func (h *Home) forget(ctx context.Context, stage *os.File, name string) error {
	dir, err := openFolder(stage, name)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err == nil:
		p := &placement{home: h, dir: dir, now: Placed{Phase: PhasePrepared}}
		defer p.close()
		if p.readState() != nil || p.now.Phase != PhasePrepared {
			if err := p.giveUp(ctx); err != nil {
				return err
			}
		}
	case !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP):
		return explain(stagingDir, err)
	}
	return explain(stagingDir, remove(ctx, stage, name, 0))
}

// giveUp puts the tree of a restore that did not come to an end into the trash.
func (p *placement) giveUp(ctx context.Context) error {
	if p.readPlan(nil) != nil || p.plan.Path == "" { // damaged
		p.plan = Plan{Path: ".", Label: "from a restore"}
	}
	tree, err := openFolder(p.dir, treeName)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return explain(stagingDir, err)
	}
	defer tree.Close()
	steps := stepsName
	if p.now.Phase == PhaseUndoing {
		steps = backName
	}
	_ = p.prune(steps) // else the trash has some empty folders more
	return p.putAway(ctx, tree)
}
