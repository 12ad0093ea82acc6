package files

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// decideBack brings the replaced from the trash and writes down how each step is
// taken back, the last first.
func (p *placement) decideBack(ctx context.Context) error {
	if err := p.fetchBack(); err != nil {
		return err
	}
	var steps []step
	if err := lines(p, stepsName, func(s step) error { steps = append(steps, s); return nil }); err != nil {
		return err
	}
	slices.Reverse(steps)
	tree, err := openFolder(p.dir, treeName)
	if err != nil {
		return damaged(treeName, err)
	}
	defer tree.Close()
	err = p.write(backName, func(w *bufio.Writer) error {
		out := json.NewEncoder(w)
		for _, s := range steps {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := out.Encode(p.reverse(tree, s)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.now.Phase, p.now.Trashed, p.now.Whole = PhaseUndoing, "", false
	return p.keep()
}

// againBack brings what could not be taken back from the trash, and makes that
// what is to be done. It is not done to what was taken back: the person has gone on
// with that.
func (p *placement) againBack() error {
	if err := p.fetchBack(); err != nil {
		return err
	}
	err := unix.Renameat(int(p.dir.Fd()), failedName, int(p.dir.Fd()), backName)
	if err != nil && !errors.Is(err, unix.ENOENT) { // ENOENT: it was cut off behind this
		return explain(stagingDir, err)
	}
	p.now.Phase, p.now.Trashed, p.now.Whole = PhaseUndoing, "", false
	return p.keep()
}

// reverse is the step that takes s back, as things are now.
func (p *placement) reverse(tree *os.File, s step) step {
	switch s.Do {
	case "mode":
		return step{Do: "mode", Path: s.Path, Mode: s.Was}
	case "gone":
		return step{Do: "none", Path: s.Path, From: s.From}
	case "in":
		back := step{Do: "out", Path: s.Path, From: s.From}
		if dir, base, err := openBelow(tree, s.From); err == nil {
			switch st, err := lstat(dir, base); {
			case err != nil:
			case st.Ino == s.Ino: // it could not be placed
				back.Do = "none"
			default: // it had taken another's place
				back.Do, back.Ino = "in", st.Ino
			}
			dir.Close()
		}
		return back
	}
	back := step{Do: "in", Path: s.Path, From: s.From}
	if dir, base, err := openBelow(tree, s.From); err == nil {
		if st, err := lstat(dir, base); err == nil {
			back.Ino = st.Ino
		}
		dir.Close()
	}
	return back
}

// fetchBack moves what was replaced from the trash into the tree.
func (p *placement) fetchBack() error {
	if err := unix.Mkdirat(int(p.dir.Fd()), treeName, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return explain(stagingDir, err)
	}
	if p.now.Trashed == "" {
		return nil
	}
	if err := oneName(p.now.Trashed); err != nil {
		return err
	}
	t, err := p.home.openTrash()
	if err != nil {
		return err
	}
	defer t.close()
	tree, err := openFolder(p.dir, treeName)
	if err != nil {
		return damaged(treeName, err)
	}
	defer tree.Close()
	dir, base := p.dir, treeName
	if p.plan.Path.Home() || p.now.Whole {
		// The folder itself comes back in the place of the empty one.
		err = unix.Unlinkat(int(p.dir.Fd()), treeName, unix.AT_REMOVEDIR)
		if errors.Is(err, unix.ENOTEMPTY) {
			return nil // it is there already
		}
	} else if dir, base, err = p.inTree(tree, p.plan.Path); err == nil {
		defer dir.Close()
		if _, err := lstat(dir, base); err == nil {
			return nil
		}
	}
	if err != nil {
		return explain(stagingDir, err)
	}
	st, err := lstat(t.files, string(p.now.Trashed))
	if err == nil && st.Ino != p.now.TrashedIno {
		err = unix.ENOENT // another of the same name
	}
	if err == nil {
		err = moveName(t.files, string(p.now.Trashed), dir, base)
	}
	if errors.Is(err, unix.ENOENT) {
		return goneFromTrash(err)
	}
	if err == nil {
		err = unix.Unlinkat(int(t.info.Fd()), string(p.now.Trashed)+infoSuffix, 0)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return explain(trashFiles, err)
	}
	return nil
}
