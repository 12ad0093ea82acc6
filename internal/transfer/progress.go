package transfer

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	// quiet is how long a command may take before it says how far it is.
	quiet = time.Second
	// redraw is how often it is said.
	redraw = 200 * time.Millisecond
	// window is over how long the rate is taken.
	window = 5 * time.Second
)

// Progress says on a terminal how far something is. Safe for concurrent use; a nil
// one says nothing.
type Progress struct {
	out   io.Writer
	begun time.Time
	stop  chan struct{}
	ended sync.WaitGroup

	mu           sync.Mutex
	bytes, total int64
	files, of    int64
	name, note   string
	past         []sample
	drawn        bool
}

type sample struct {
	at    time.Time
	bytes int64
}

// NewProgress begins to say how far it is, on one line of the terminal out that
// it takes away again at the end. Call End.
func NewProgress(out io.Writer) *Progress {
	p := &Progress{out: out, begun: time.Now(), stop: make(chan struct{})}
	p.ended.Go(func() {
		tick := time.NewTicker(redraw)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case now := <-tick.C:
				if now.Sub(p.begun) > quiet {
					p.draw(now)
				}
			}
		}
	})
	return p
}

// End takes the line away.
func (p *Progress) End() {
	if p == nil {
		return
	}
	close(p.stop)
	p.ended.Wait()
	p.clear()
}

func (p *Progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn = false
	}
}

// Print writes a line above.
func (p *Progress) Print(out io.Writer, line string) {
	if p != nil {
		p.clear()
	}
	fmt.Fprintln(out, line)
}

// Expect adds to what there is to do.
func (p *Progress) Expect(files, bytes int64) {
	if p != nil {
		p.mu.Lock()
		p.of, p.total = p.of+files, p.total+bytes
		p.mu.Unlock()
	}
}

// Note says something of the connection; "" is that there is nothing to say.
func (p *Progress) Note(s string) {
	if p != nil {
		p.mu.Lock()
		p.note = s
		p.mu.Unlock()
	}
}

// One follows one file: at is called with how many of its bytes are done, which
// may go back, done when it is over with its size.
func (p *Progress) One(name string, size int64) (at func(int64), done func()) {
	if p == nil {
		return func(int64) {}, func() {}
	}
	var last int64
	at = func(n int64) {
		p.mu.Lock()
		p.bytes, last, p.name = p.bytes+n-last, n, name
		p.mu.Unlock()
	}
	return at, func() {
		at(size)
		p.mu.Lock()
		p.files++
		p.mu.Unlock()
	}
}

func (p *Progress) draw(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.past = append(p.past, sample{now, p.bytes})
	for len(p.past) > 2 && now.Sub(p.past[0].at) > window {
		p.past = p.past[1:]
	}
	first := p.past[0]
	if len(p.past) == 1 {
		first = sample{p.begun, 0}
	}
	rate := float64(max(p.bytes-first.bytes, 0)) / max(now.Sub(first.at).Seconds(), 0.001)
	fmt.Fprintf(p.out, "\r\x1b[K%s", p.line(rate))
	p.drawn = true
}

// line is what is said, at most 78 columns wide.
func (p *Progress) line(rate float64) string {
	s := fmt.Sprintf("%s of %s", size(p.bytes), size(p.total))
	if p.of > 1 {
		s += fmt.Sprintf(", %d of %d files", p.files, p.of)
	}
	switch {
	case p.note != "":
		s += "  " + p.note
	case rate >= 1:
		s += fmt.Sprintf("  %s/s", size(int64(rate)))
		if left := float64(p.total-p.bytes) / rate; left >= 1 && left < 100*3600 {
			s += fmt.Sprintf("  %s left", (time.Duration(left) * time.Second).String())
		}
	}
	if room := 76 - len(s); room > 10 && p.name != "" {
		name := []rune(Quote(p.name))
		if len(name) > room {
			name = append([]rune("…"), name[len(name)-room+1:]...)
		}
		s += "  " + string(name)
	}
	return s
}

// size is a number of bytes for people.
func size(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1000, 0
	for f >= 999.5 && i < len(units)-1 {
		f, i = f/1000, i+1
	}
	return strings.Replace(fmt.Sprintf("%.3g %cB", f, units[i]), "e+03", "000", 1)
}

// Size is a number of bytes for people, such as 1.23 MB.
func Size(n int64) string { return size(n) }
