package terminal

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What a person waits for is told at once, a flood in few pieces, and its end
// without anything that comes after it.
func TestGather(t *testing.T) {
	for name, c := range map[string]struct {
		reads []int
		wait  time.Duration
		want  int32
	}{
		"short":                {[]int{1, 1, 1}, 0, 3},
		"a flood":              {[]int{fullRead, fullRead, fullRead, fullRead, fullRead, fullRead, fullRead, fullRead, fullRead}, 0, 1},
		"the end of a flood":   {[]int{fullRead}, gatherFor, 1},
		"a flood and a prompt": {[]int{fullRead, fullRead, 10}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told atomic.Int32
				var g gather
				g.init(func() { told.Add(1) })
				for _, n := range c.reads {
					g.read(n)
				}
				time.Sleep(c.wait)
				synctest.Wait()
				if n := told.Load(); n != c.want {
					t.Errorf("told %d times, not %d", n, c.want)
				}
				before := told.Load()
				g.read(fullRead)
				g.end()
				time.Sleep(time.Second)
				if n := told.Load() - before; n < 1 || n > 2 {
					t.Errorf("the end of all: told %d times", n)
				}
			})
		})
	}
}
