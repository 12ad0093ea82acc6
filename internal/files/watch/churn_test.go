package watch

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestFoldersThatComeAndGo makes folders whose inodes are taken by files the moment
// they are gone: a handle of such a folder is looked up while its inode is being
// made anew, which the kernel calls a lack of memory. Nobody is to list again for
// that.
func TestFoldersThatComeAndGo(t *testing.T) {
	y := newYard(t, "fanotify")
	c, err := y.Count(t.Context(), ws, y.home)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var all sync.WaitGroup
	for n := range 4 {
		y.mkdir(fmt.Sprint("w", n))
		all.Go(func() {
			for i := range 800 {
				dir := y.at(fmt.Sprintf("w%d/d%d", n, i))
				if err := os.MkdirAll(dir+"/sub", 0o755); err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(dir+"/sub/f", nil, 0o644); err != nil {
					t.Error(err)
				}
				if err := os.RemoveAll(dir); err != nil {
					t.Error(err)
				}
				for j := range 4 {
					if err := os.WriteFile(y.at(fmt.Sprintf("w%d/f%d", n, j)), nil, 0o644); err != nil {
						t.Error(err)
					}
				}
				for j := range 4 {
					_ = os.Remove(y.at(fmt.Sprintf("w%d/f%d", n, j)))
				}
			}
		})
	}
	all.Wait()
	s := y.stream(".") // has what waits read
	s.Close()
	if c.Peek().Overflow {
		t.Error("who watches was told to list again")
	}
}

// What is remembered of a home from look to look is bounded in bytes; what changes
// beyond that is an overflow.
func TestAbuse37_LooksAtLongPaths(t *testing.T) {
	y := newYard(t, "looks")
	y.kept = 64 << 10
	dir := strings.Repeat(strings.Repeat("d", 250)+"/", 10)
	y.mkdir(dir)
	for i := range 200 {
		y.write(fmt.Sprint(dir, i), "")
	}
	s := y.stream(".")
	y.mu.Lock()
	p := y.Watcher.homes[y.home].poll
	y.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range 5 {
		for j := range 200 {
			y.write(fmt.Sprint(dir, j), strings.Repeat("x", i+1))
		}
		for {
			b, err := s.Next(ctx)
			y.must(err)
			if b.Overflow {
				break
			}
		}
	}
	s.Close() // ends the looks
	if p.known.bytes > y.kept || !p.known.full || len(p.known.names) > 40 {
		t.Errorf("%d bytes of %d paths are kept", p.known.bytes, len(p.known.names))
	}
}
