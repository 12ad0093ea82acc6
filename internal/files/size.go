package files

import (
	"context"

	"golang.org/x/sys/unix"
)

// Size is what a file or a tree takes.
type Size struct {
	Bytes int64 `json:"bytes"` // of disk blocks; a file with several names counts once
	Files int64 `json:"files"` // names, p itself too
}

// onDisk is what a file takes of the disk, in bytes.
func onDisk(st unix.Stat_t) int64 { return st.Blocks * 512 }

// Size measures a file or a tree. What may not be read is left out.
func (h *Home) Size(ctx context.Context, p Path) (Size, error) {
	dir, base, err := h.place(p)
	if err != nil {
		return Size{}, err
	}
	defer dir.Close()
	st, err := lstat(dir, base)
	if err != nil {
		return Size{}, explain(p, err)
	}
	out := Size{onDisk(st), 1}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return out, nil
	}
	top, err := openFolder(dir, base)
	if err != nil {
		return Size{}, explain(p, err)
	}
	defer top.Close()
	seen := map[inode]bool{}
	err = walk(ctx, top, "", 0, func(v visited) error {
		out.Files++
		if v.st.Nlink > 1 && v.st.Mode&unix.S_IFMT == unix.S_IFREG {
			if seen[inodeOf(v.st)] {
				return nil
			}
			seen[inodeOf(v.st)] = true
		}
		out.Bytes += onDisk(v.st)
		return nil
	}, func(Path) {})
	return out, explain(p, err)
}
