package watch

import (
	"cmp"
	"errors"
	"hash/maphash"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/files"
)

const (
	// lookEvery and lookOften are the least time between two looks at a whole
	// home, with inotify and without. A look rests lookRest times its own length.
	lookEvery = 30 * time.Second
	lookOften = 3 * time.Second
	lookRest  = 30
	// mostKept is how many names are remembered from one look to the next; of
	// more only whether something changed is known.
	mostKept = 1 << 20
	// mostKeptPaths is how many bytes these have at most with their folders, and what
	// was told since.
	mostKeptPaths = 128 << 20
	// lookSoon is the least time to a look that a doubt asks for.
	lookSoon = time.Second
	mostDeep = 512
	mostTold = 1 << 17
)

// poll watches one home where the file system cannot be watched as a whole.
type poll struct {
	w     *Watcher
	h     *home
	top   *os.File
	ready chan struct{} // closed when nothing is missed any more
	quit  chan struct{}
	done  chan struct{}
	heard chan []heard // from the reader

	// The rest is run's own.
	ino   *inotify // nil: only looks
	known seen
	told  map[files.Path]bool // since the last look, whether it is there; nil: too many
	// toldBytes is how many bytes of paths told was given.
	toldBytes int
	left      []change // names that were moved away lately
	looked    bool
	at        time.Time     // of the last look
	took      time.Duration // the last look
	doubt     bool          // something was not as the events said: look soon

	// late is Stream.Late, in nanoseconds. Anybody reads it.
	late atomic.Int64
}

// seen is what a look found: a hash of each name's state, and of all beyond
// mostKept.
type seen struct {
	names map[files.Path]uint64
	bytes int  // of names
	full  bool // there are more
	rest  uint64
}

// startPoll begins to watch a home whose top is open. It is called with
// Watcher.mu held.
func startPoll(w *Watcher, h *home, dir *os.File) (*poll, error) {
	fd, err := unix.FcntlInt(dir.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	p := &poll{w: w, h: h, top: os.NewFile(uintptr(fd), dir.Name()), ready: make(chan struct{}),
		quit: make(chan struct{}), done: make(chan struct{}), heard: make(chan []heard, 1), told: map[files.Path]bool{}}
	if p.ino, err = newInotify(w.mostWatches()); err != nil {
		p.limited(err)
	}
	go p.run()
	return p, nil
}

// mostWatches is how many inotify watches one home may have: the person's own
// programs need some, too.
func (w *Watcher) mostWatches() int {
	if w.watches != 0 {
		return w.watches
	}
	b, err := os.ReadFile("/proc/sys/fs/inotify/max_user_watches")
	n, nerr := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || nerr != nil {
		return 8192
	}
	return n / 2
}

func (p *poll) close() {
	close(p.quit)
	<-p.done
}

// limited goes on without inotify.
func (p *poll) limited(err error) {
	p.w.log.Warn("changes in a home are seen late, by looking it over", "workstation", p.h.ws, "why", err)
	if p.ino != nil {
		p.ino.file.Close() // its reader ends
		p.ino = nil
	}
}

func (p *poll) run() {
	defer close(p.done)
	defer p.top.Close()
	if p.ino != nil {
		go p.read(p.ino.file)
		defer func() {
			if p.ino != nil {
				p.ino.file.Close()
			}
		}()
	}
	wait := p.look()
	close(p.ready)
	next := time.NewTimer(wait)
	defer next.Stop()
	var second <-chan time.Time // when a half move is given up
	for {
		select {
		case <-p.quit:
			return
		case list := <-p.heard:
			if p.take(list) {
				next.Reset(0)
			} else if p.doubt {
				next.Reset(time.Until(p.at.Add(max(lookSoon, lookRest/3*p.took))))
			}
			second = nil
			if p.ino != nil && p.ino.half != nil {
				second = time.After(pairing)
			}
		case <-second:
			second = nil
			p.giveUp()
		case <-next.C:
			next.Reset(p.look())
		}
	}
}

// read hands the kernel's events over until file is closed.
func (p *poll) read(file *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := file.Read(buf)
		if err != nil {
			return
		}
		list, err := readHeard(buf[:n])
		if err != nil {
			list = append(list, heard{mask: unix.IN_Q_OVERFLOW})
		}
		select {
		case p.heard <- list:
		case <-p.quit:
			return
		}
	}
}

// tell hands on what inotify said, and remembers it until the next look.
func (p *poll) tell(c change) {
	if _, known := p.told[c.at]; p.told != nil && (!known || c.kind != Attrib) {
		p.told[c.at] = c.kind != Delete
		if c.kind == Move {
			p.told[c.from] = false
		}
	}
	if p.toldBytes += len(c.at) + len(c.from); len(p.told) > mostTold || p.toldBytes > mostKeptPaths {
		p.told = nil
	}
	p.hand(c)
}

func (p *poll) hand(c change) {
	p.w.mu.Lock()
	p.h.tell(c)
	p.w.mu.Unlock()
}

func (p *poll) overflow() {
	p.w.mu.Lock()
	p.w.overflowAll(func(h *home) bool { return h == p.h })
	p.w.mu.Unlock()
}

// look looks the whole home over and tells what differs from the last time. It
// returns how long to rest.
func (p *poll) look() time.Duration {
	begun := time.Now()
	was, told := p.known, p.told
	p.toldBytes = 0
	p.known, p.told = seen{names: map[files.Path]uint64{}}, map[files.Path]bool{}
	p.folder(p.top, ".", nil, "", 0, func(at files.Path, sum uint64, dir bool) {
		before, old := was.names[at]
		there, heard := told[at]
		switch {
		case !p.looked || heard && there:
		case heard || !old && !was.full:
			p.hand(change{kind: Create, at: at, dir: dir})
		case old && before != sum && !dir:
			p.hand(change{kind: Modify, at: at})
		case old && before != sum:
			p.hand(change{kind: Attrib, at: at, dir: true})
		}
	})
	gone := func(at files.Path) {
		if _, now := p.known.names[at]; !now && !p.known.full {
			p.hand(change{kind: Delete, at: at})
		}
	}
	for at := range was.names {
		if there, heard := told[at]; !heard || there {
			gone(at)
		}
	}
	for at, there := range told {
		if _, old := was.names[at]; there && !old {
			gone(at)
		}
	}
	if p.looked && (was.rest != p.known.rest || told == nil) {
		p.overflow()
	}
	first := !p.looked
	p.looked, p.doubt, p.at, p.took = true, false, time.Now(), time.Since(begun)
	least := cmp.Or(p.w.often, lookOften)
	if p.ino != nil {
		return max(lookEvery, lookRest*p.took)
	}
	rest := max(least, lookRest*p.took)
	if was := p.late.Swap(int64(rest + p.took)); was == 0 && !first { // from now on
		p.overflow()
	}
	return rest
}

// folder looks at all in an open folder and below it, and puts watches on folders
// before it reads them.
func (p *poll) folder(dir *os.File, at files.Path, up *branch, name string, depth int, each func(files.Path, uint64, bool)) {
	if depth > mostDeep || p.quitting() || at.Staged() {
		return
	}
	var b *branch
	if p.ino != nil {
		var err error
		if b, err = p.ino.watch(dir, up, name); errors.Is(err, errWatches) {
			p.limited(err)
		} else if err != nil {
			p.doubt = true
		}
	}
	var own unix.Stat_t
	if unix.Fstat(int(dir.Fd()), &own) != nil {
		return
	}
	for {
		names, err := dir.Readdirnames(1024)
		for _, base := range names {
			var st unix.Stat_t
			if unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || len(at)+len(base) >= mostPath {
				continue
			}
			below := at.Join(base)
			isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
			sum := p.keep(below, st, isDir)
			each(below, sum, isDir)
			if isDir && st.Dev == own.Dev {
				if sub, err := openIn(dir, base); err == nil {
					p.folder(sub, below, b, base, depth+1, each)
					sub.Close()
				}
			}
		}
		if err != nil {
			break
		}
	}
	if at == "." { // it is read again at the next look
		_, _ = dir.Seek(0, 0)
	}
}

func (p *poll) quitting() bool {
	select {
	case <-p.quit:
		return true
	default:
		return false
	}
}

// keep remembers the state of a name, as a hash. Of a folder only its mode and
// owner count: what is in it is told by itself.
func (p *poll) keep(at files.Path, st unix.Stat_t, dir bool) uint64 {
	type state struct {
		ino         uint64
		mode        uint32
		uid, gid    uint32
		size        int64
		mtim, ctime unix.Timespec
	}
	s := state{ino: st.Ino, mode: st.Mode, uid: st.Uid, gid: st.Gid}
	if !dir {
		s.size, s.mtim, s.ctime = st.Size, st.Mtim, st.Ctim
	}
	sum := maphash.Comparable(seed, s)
	k := &p.known
	if k.full = k.full || len(k.names) == mostKept || k.bytes+len(at) > cmp.Or(p.w.kept, mostKeptPaths); !k.full {
		k.names[at] = sum
		k.bytes += len(at)
	} else {
		k.rest ^= sum ^ maphash.String(seed, string(at))
	}
	return sum
}

// openIn opens a folder in an open folder, and no link.
func openIn(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
