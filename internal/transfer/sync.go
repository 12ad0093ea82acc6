package transfer

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"staithe/internal/files"
	"staithe/internal/station"
)

// SyncOptions say how two folders are made the same.
type SyncOptions struct {
	Delete bool                         // take away what the source has not: to the trash in a home
	DryRun bool                         // only say what would be done
	Say    func(what, rel string)       // hears each difference; it may be nil
	Done   func(same, sent, gone int64) // hears how many there were of each; it may be nil
}

// SyncUp makes a folder of a home like one here, SyncDown the other way round.
// Files that have the same content, by hash, are not sent.
func (j *Job) SyncUp(ctx context.Context, src string, dst files.Path, o SyncOptions) error {
	return j.trees(ctx, src, dst, true, &o)
}

// SyncDown is SyncUp from a home to here.
func (j *Job) SyncDown(ctx context.Context, src files.Path, dst string, o SyncOptions) error {
	return j.trees(ctx, dst, src, false, &o)
}

// differences is what of the items must be copied. What only differs in its mode
// or time is put right at once, and what is too much is taken away.
func (c *copying) differences(ctx context.Context, items []item) ([]item, error) {
	from, to := c.sides()
	have, err := c.present(ctx, to)
	if err != nil {
		return nil, err
	}
	c.have = have
	equal, err := sameContent(ctx, from, to, items, have)
	if err != nil {
		return nil, err
	}
	var todo []item
	var same, sent, gone int64
	source := map[string]bool{}
	for _, it := range items {
		source[it.rel] = true
		old, there := have[it.rel]
		switch {
		case it.kind == files.KindFolder && there && old.kind == it.kind:
			// Its time may change with what is in it; one that is closed is opened for that.
			if !c.up || old.mode != it.mode || it.mode|0o700 != it.mode {
				todo = append(todo, it)
			}
		case it.kind == files.KindFile && equal[it.rel]:
			same++
			if err := c.redress(ctx, to, it, old); err != nil {
				return nil, err
			}
		case it.kind == files.KindSymlink && there && old.kind == it.kind && old.target == it.target:
			same++
		default:
			sent++
			c.say(map[bool]string{true: "change", false: "new"}[there], it.rel)
			todo = append(todo, it)
		}
	}
	if c.sync.Delete && c.incomplete() {
		c.warn("nothing was deleted: not all of the source could be read, and what is not seen there is not gone")
	} else if c.sync.Delete {
		if gone, err = c.remove(ctx, to, have, source); err != nil {
			return nil, err
		}
	}
	if c.sync.Done != nil {
		c.sync.Done(same, sent, gone)
	}
	return todo, nil
}

// present is what the target has, by its place; nothing when it is not there.
func (c *copying) present(ctx context.Context, to tree) (map[string]item, error) {
	have := map[string]item{}
	items, err := scan(ctx, to, func(string, error) {})
	if errors.Is(err, station.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return have, nil
	}
	if err != nil {
		return nil, err
	}
	for _, it := range items {
		have[it.rel] = it
	}
	return have, nil
}

// sameContent says which files are the same on both sides. Only those of one size
// are read.
func sameContent(ctx context.Context, from, to tree, items []item, have map[string]item) (map[string]bool, error) {
	var rels []string
	for _, it := range items {
		if old, ok := have[it.rel]; ok && it.kind == files.KindFile && old.kind == it.kind && old.size == it.size {
			rels = append(rels, it.rel)
		}
	}
	type sums struct {
		of  []string
		err error
	}
	other := make(chan sums, 1)
	go func() {
		of, err := to.hashes(ctx, rels)
		other <- sums{of, err}
	}()
	a, err := from.hashes(ctx, rels)
	b := <-other
	if err := errors.Join(err, b.err); err != nil {
		return nil, err
	}
	equal := map[string]bool{}
	for i, rel := range rels {
		equal[rel] = a[i] != "" && a[i] == b.of[i]
	}
	return equal, nil
}

// redress gives a file of the same content the mode and the time of its source. A
// home's files keep their time: only writing them sets it.
func (c *copying) redress(ctx context.Context, to tree, it, old item) error {
	if old.mode == it.mode && (c.up || old.mtime.Equal(it.mtime)) || c.sync.DryRun {
		return nil
	}
	err := to.dress(ctx, it)
	if err != nil && !ends(ctx, err) {
		c.bad(it.rel, err)
		return nil
	}
	return err
}

// remove takes away what the source has not; of a folder that goes, all at once.
func (c *copying) remove(ctx context.Context, to tree, have map[string]item, source map[string]bool) (gone int64, err error) {
	var extra []string
	for rel := range have {
		if !source[rel] && !c.spared(rel) {
			extra = append(extra, rel)
		}
	}
	slices.Sort(extra) // a folder comes before what is in it
	away := map[string]bool{}
	for _, rel := range extra {
		if away[rel] = true; away[path.Dir(rel)] {
			continue // it goes with its folder
		}
		gone++
		c.say("delete", rel)
		if c.sync.DryRun {
			continue
		}
		if err := to.remove(ctx, rel); err != nil {
			if ends(ctx, err) {
				return gone, err
			}
			c.bad(rel, err)
		}
	}
	return gone, nil
}

// spared says whether something is never taken away: what a home keeps for itself,
// its trash above all.
func (c *copying) spared(rel string) bool {
	if !c.up {
		return false
	}
	p := string(c.there.at(rel))
	for _, keep := range []string{".local/share/staithe", ".local/share/Trash"} {
		if p == keep || strings.HasPrefix(p, keep+"/") || strings.HasPrefix(keep, p+"/") {
			return true
		}
	}
	return false
}

func (c *copying) say(what, rel string) {
	if c.sync.Say != nil {
		c.sync.Say(what, rel)
	}
}
