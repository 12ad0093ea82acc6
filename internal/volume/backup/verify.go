package backup

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"

	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

// How much content is read back of a snapshot: so many new files at most, of so
// many bytes together, out of so many looked at. When all of these are larger, one
// is read that is not too large.
const (
	sampleFiles = 5
	sampleBytes = 8 << 20
	sampleOne   = 64 << 20
	sampleFrom  = 20
)

// verify reads a snapshot back from the store, not from restic's cache: what
// differs from the parent in its listing, or all of that when there is none, and
// a sample of its new content. restic compares all that it reads with its hash.
// home is what it was made of.
func (u *unit) verify(ctx context.Context, home, parent, id string) error {
	sample := reservoir{}
	var sizes map[string]int64
	var err error
	if parent == "" {
		err = u.repo.Ls(ctx, restic.LsRequest{Snapshot: id, Fresh: true}, func(n restic.Node) error {
			u.progressed()
			if n.Type == "file" && n.Exact() && n.Size <= sampleOne {
				sample.add(file{n.Path, n.Size})
			}
			return nil
		})
	} else {
		err = u.repo.Diff(ctx, parent, id, false, true, func(c restic.Change) error {
			u.progressed()
			if !c.Folder && c.Exact() && (c.Kind == "+" || c.Kind == "M") {
				sample.add(file{c.Path, -1})
			}
			return nil
		})
		if err == nil {
			// Mostly a file is still what it was, and one start of restic less is enough.
			if picked := pick(sample.files, sizesNow(home, sample.files)); len(picked) > 0 {
				back := u.readBack(ctx, id, picked)
				if !errors.Is(back, errOtherSize) && restic.CodeOf(back) != restic.CodeTooLarge {
					return back
				}
			}
		}
		if err == nil && len(sample.files) > 0 {
			sizes, err = u.sizes(ctx, id, sample.files)
		}
	}
	if err != nil {
		return err
	}
	return u.readBack(ctx, id, pick(sample.files, sizes))
}

type file struct {
	path string
	size int64
}

// reservoir keeps sampleFrom of all that is added, each with the same chance.
type reservoir struct {
	files []file
	seen  int
}

func (r *reservoir) add(f file) {
	r.seen++
	if len(r.files) < sampleFrom {
		r.files = append(r.files, f)
	} else if i := rand.IntN(r.seen); i < sampleFrom {
		r.files[i] = f
	}
}

// sizesNow is how large files of the home are at this moment; those that are none
// are left out. It asks for names and sizes alone, as the quota's walk does: no file
// is opened, and no link leads out.
func sizesNow(home string, files []file) map[string]int64 {
	sizes := map[string]int64{}
	root, err := os.OpenRoot(home)
	if err != nil {
		return sizes
	}
	defer root.Close()
	for _, f := range files {
		if info, err := root.Lstat(f.path); err == nil && info.Mode().IsRegular() {
			sizes[f.path] = info.Size()
		}
	}
	return sizes
}

// sizes looks up in the snapshot how large files are; those that are none are left out.
func (u *unit) sizes(ctx context.Context, id string, files []file) (map[string]int64, error) {
	sizes, folders := map[string]int64{}, map[string]bool{}
	q := restic.LsRequest{Snapshot: id, Fresh: true}
	for _, f := range files {
		dir := path.Dir(f.path)
		if dir == "." {
			dir = ""
		}
		if !folders[dir] {
			folders[dir] = true
			q.Folders = append(q.Folders, dir)
		}
	}
	err := u.repo.Ls(ctx, q, func(n restic.Node) error {
		u.progressed()
		if n.Type == "file" {
			sizes[n.Path] = n.Size
		}
		return nil
	})
	return sizes, err
}

// pick takes from the sample what is to be read; sizes nil: they are known.
func pick(files []file, sizes map[string]int64) []file {
	var picked []file
	var small file
	left := int64(sampleBytes)
	for _, f := range files {
		if sizes != nil {
			size, ok := sizes[f.path]
			if !ok {
				continue
			}
			f.size = size
		}
		if f.size <= left && len(picked) < sampleFiles {
			picked, left = append(picked, f), left-f.size
		}
		if f.size <= sampleOne && (small.path == "" || f.size < small.size) {
			small = f
		}
	}
	if len(picked) == 0 && small.path != "" {
		picked = append(picked, small)
	}
	return picked
}

// errOtherSize is in the error when what was read back is not as long as it should be.
var errOtherSize = errors.New("its size is another")

// readBack restores files into a folder of its own, which is removed.
func (u *unit) readBack(ctx context.Context, id string, files []file) error {
	if len(files) == 0 {
		return nil
	}
	into := filepath.Join(u.work(), "verify")
	if err := os.RemoveAll(into); err != nil {
		return fmt.Errorf("prepare to read a snapshot back: %w", err)
	}
	if err := os.Mkdir(into, 0o700); err != nil {
		return fmt.Errorf("prepare to read a snapshot back: %w", err)
	}
	defer os.RemoveAll(into) // else by the next
	var paths []string
	for _, f := range files {
		paths = append(paths, f.path)
	}
	if _, err := u.repo.Restore(ctx, restic.RestoreRequest{Snapshot: id, Into: into, Paths: paths, Fresh: true, Most: sampleOne}); err != nil {
		return err
	}
	root, err := os.OpenRoot(into)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range files {
		info, err := root.Lstat(filepath.Join(restic.Top[1:], f.path))
		if err != nil || info.Size() != f.size {
			return station.Errorf(station.ErrUnavailable, restic.CodeDamaged,
				"A file could not be read back from the snapshot that was just made; another is made, and if this stays, run restic check on the repository.").Because(errors.Join(errOtherSize, err))
		}
	}
	return nil
}
