package capture

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// deepest is how many folders are open at once: what is below has paths that
// cannot be opened.
const deepest = unix.PathMax / 2

// walk looks at every name, in no order. What cannot be read, or went in the
// meantime, is passed over: restic says so where it matters. It ends when the time
// is over, or nobody reads what is said.
func (c *capture) walk(ctx context.Context) { c.folder(ctx, c.home, 0) }

// folder says whether to go on. A folder may have any number of names: they are
// read a part at a time.
func (c *capture) folder(ctx context.Context, dir string, depth int) bool {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil || depth > deepest {
		return true
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	for {
		entries, err := f.ReadDir(256)
		for _, d := range entries {
			if ctx.Err() != nil {
				c.cut = "there was no time left to look for them"
				return false
			}
			if c.err != nil || !c.entry(ctx, filepath.Join(dir, d.Name()), d, depth) {
				return false
			}
		}
		if err != nil || len(entries) == 0 {
			return true
		}
	}
}

func (c *capture) entry(ctx context.Context, at string, d fs.DirEntry, depth int) bool {
	p := strings.TrimPrefix(strings.TrimPrefix(at, c.home), "/")
	left := false
	for i, rule := range c.r.Rules {
		if left = Match(rule, p); left {
			c.measure(i, at)
			break
		}
	}
	switch {
	case d.IsDir():
		return c.folder(ctx, at, depth+1)
	case d.Type().IsRegular() && !left:
		c.look(ctx, at, p)
	}
	return true
}
