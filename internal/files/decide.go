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

// decide writes down every step before the first is done.
func (p *placement) decide(ctx context.Context) error {
	tree, err := openFolder(p.dir, treeName)
	if err != nil {
		return damaged(treeName, err)
	}
	defer tree.Close()
	// What restic wrote is on the disk before it replaces anything.
	if err := unix.Syncfs(int(tree.Fd())); err != nil {
		return explain(stagingDir, err)
	}
	for _, of := range []Path{stagingDir, trashFiles, trashInfo} { // the snapshot's own
		if dir, base, err := openBelow(tree, of); err == nil {
			err = removeFetched(ctx, dir, base)
			dir.Close()
			if err != nil {
				return explain(of, err)
			}
		}
	}
	if err := p.onlyAsked(ctx, tree); err != nil {
		return explain(p.plan.Path, err)
	}
	err = p.write(stepsName, func(w *bufio.Writer) error {
		out := json.NewEncoder(w)
		if p.plan.Beside {
			return p.decideBeside(tree, out)
		}
		d := decider{ctx: ctx, p: p, out: out, whole: map[string]bool{}}
		err := p.readPlan(func(l PlanLine) error {
			if l.Folder != "" {
				d.whole[l.Folder] = true
			}
			return nil
		})
		if err = errors.Join(err, d.all(tree)); err != nil {
			return err
		}
		return p.readPlan(func(l PlanLine) error { return d.line(l) })
	})
	if err != nil {
		return err
	}
	p.now.Phase = PhasePlacing
	return p.keep()
}

// onlyAsked removes what was fetched beside what was asked for: a pattern of a
// name that is not UTF-8 matches others, too.
func (p *placement) onlyAsked(ctx context.Context, tree *os.File) error {
	path := p.plan.Path
	for i := range len(path) + 1 {
		if path.Home() || i < len(path) && path[i] != '/' {
			continue
		}
		dir, base, err := openBelow(tree, path[:i])
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return err
		}
		names, err := dir.Readdirnames(-1)
		for _, name := range names {
			if name != base {
				err = errors.Join(err, removeFetched(ctx, dir, name))
			}
		}
		if err = errors.Join(err, dir.Close()); err != nil {
			return err
		}
	}
	return nil
}

// removeFetched removes something of the tree, also from a folder that is closed.
func removeFetched(ctx context.Context, dir *os.File, base string) error {
	return unlocked(dir, nil, func() error { return remove(ctx, dir, base, 0) })
}

func (p *placement) decideBeside(tree *os.File, out *json.Encoder) error {
	s := step{Do: "in", From: p.plan.Path, Fresh: true}
	from, base, home := p.dir, treeName, "home"
	if !p.plan.Path.Home() {
		var err error
		if from, base, err = openBelow(tree, p.plan.Path); err != nil {
			return explain(p.plan.Path, err)
		}
		defer from.Close()
		home = base
	}
	st, err := lstat(from, base)
	if err != nil {
		return explain(p.plan.Path, err)
	}
	s.Ino = st.Ino
	parent := Path(".")
	if !p.plan.Path.Home() {
		parent, _ = p.plan.Path.split()
	}
	if err := p.home.parents(parent); err != nil {
		return err
	}
	dir, err := p.home.folder(parent)
	if err != nil {
		return explain(parent, err)
	}
	defer dir.Close()
	for n := 1; ; n++ {
		name := besideName(home, p.plan.Label, n)
		if _, err := lstat(dir, name); errors.Is(err, unix.ENOENT) {
			s.Path = parent.Join(name)
			break
		} else if err != nil {
			return explain(parent, err)
		}
	}
	p.now.Into = s.Path
	return out.Encode(s)
}

// decider compares a fetched tree with the home and says what is to be done.
type decider struct {
	ctx context.Context
	p   *placement
	out *json.Encoder
	// whole are the fetched folders with all that is in them, as in Was.
	whole map[string]bool
}

// all begins at what was asked for: a link on the way there is the user's own.
func (d *decider) all(tree *os.File) error {
	top := d.p.plan.Path
	if top.Home() {
		home, err := d.p.home.folder(".")
		if err != nil {
			return explain(top, err)
		}
		defer home.Close()
		return d.folder(tree, home, "", 0)
	}
	from, base, err := openBelow(tree, top)
	if errors.Is(err, unix.ENOENT) {
		return nil // nothing of it had to be fetched
	}
	if err != nil {
		return explain(top, err)
	}
	defer from.Close()
	parent, _ := top.split()
	if err := d.p.home.parents(parent); err != nil {
		return err
	}
	home, err := d.p.home.folder(parent)
	if err != nil {
		return explain(parent, err)
	}
	defer home.Close()
	return d.name(from, home, base, top, 0)
}

func (d *decider) folder(from, home *os.File, rel Path, depth int) error {
	if depth == maxDepth {
		return tooDeep(rel)
	}
	names, err := from.Readdirnames(-1)
	if err != nil {
		return explain(rel, err)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := d.name(from, home, name, rel.Join(name), depth); err != nil {
			return err
		}
	}
	return nil
}

// name decides about one name that is in both folders, or in the tree alone.
func (d *decider) name(from, home *os.File, base string, rel Path, depth int) error {
	if err := d.ctx.Err(); err != nil {
		return err
	}
	if ours(rel) {
		return nil
	}
	st, err := lstat(from, base)
	if errors.Is(err, unix.ENOENT) && depth == 0 {
		return nil
	}
	if err != nil {
		return explain(rel, err)
	}
	now, err := lstat(home, base)
	if errors.Is(err, unix.ENOENT) {
		switch kindOf(st.Mode) {
		case KindFolder:
			return d.fresh(from, base, rel, st)
		case KindFile:
			if err := d.companions(from, home, base, rel); err != nil {
				return err
			}
		}
		return d.out.Encode(step{Do: "in", Path: rel, From: rel, Ino: st.Ino})
	}
	if err != nil {
		return explain(rel, err)
	}
	kind := kindOf(st.Mode)
	switch {
	case kind != kindOf(now.Mode) && kind == KindFolder:
		return d.fresh(from, base, rel, st)
	case kind != kindOf(now.Mode):
	case kind == KindFolder:
		a, err := openFolder(from, base)
		if errors.Is(err, unix.EACCES) {
			return d.out.Encode(step{Do: "in", Path: rel, From: rel, Ino: st.Ino})
		}
		if err != nil {
			return explain(rel, err)
		}
		defer a.Close()
		b, err := openFolder(home, base)
		if errors.Is(err, unix.EACCES) {
			return d.out.Encode(step{Do: "in", Path: rel, From: rel, Ino: st.Ino})
		}
		if err != nil {
			return explain(rel, err)
		}
		defer b.Close()
		return d.folder(a, b, rel, depth+1)
	case kind == KindFile && st.Size == now.Size && st.Mtim == now.Mtim && st.Mode == now.Mode && !newerBeside(from, home, base),
		kind == KindSymlink && readlink(from, base) == readlink(home, base):
		return explain(rel, removeFetched(d.ctx, from, base)) // the same: the home keeps its own
	case kind == KindFile:
		if err := d.companions(from, home, base, rel); err != nil {
			return err
		}
	}
	return d.out.Encode(step{Do: "in", Path: rel, From: rel, Ino: st.Ino})
}

// fresh decides about a folder that the home has not, or no longer. One that was
// not fetched whole, because the home had it then, is not placed in part.
func (d *decider) fresh(from *os.File, base string, rel Path, st unix.Stat_t) error {
	whole, was := d.p.plan.Whole, lossy(rel)
	for i := range len(was) + 1 {
		if i == len(was) || was[i] == '/' {
			whole = whole || d.whole[was[:i]]
		}
	}
	if whole {
		return d.out.Encode(step{Do: "in", Path: rel, From: rel, Ino: st.Ino})
	}
	if err := removeFetched(d.ctx, from, base); err != nil {
		return explain(rel, err)
	}
	return d.out.Encode(step{Do: "gone", Path: rel, From: rel})
}

// line decides about what the plan says besides the tree.
func (d *decider) line(l PlanLine) error {
	top := d.p.plan.Path
	switch {
	case l.Extra != nil && l.Extra.within(top) && !ours(*l.Extra):
		return d.out.Encode(step{Do: "out", Path: *l.Extra, From: *l.Extra})
	case l.Path != nil && l.Mode != nil && l.Path.within(top) && !ours(*l.Path):
		dir, base, err := d.p.home.place(*l.Path)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		defer dir.Close()
		st, err := lstat(dir, base)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return explain(*l.Path, err)
		}
		mode, was := plainMode(kindOf(st.Mode), *l.Mode), st.Mode&0o7777
		return d.out.Encode(step{Do: "mode", Path: *l.Path, Mode: &mode, Was: &was})
	}
	return nil
}
