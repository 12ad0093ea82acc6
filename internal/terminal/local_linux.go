package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// drainQuiet is how long an ended process's PTY must stay silent before it is
// taken to be drained while something else (a background job) still holds it
// open. Without such a holder the kernel says EIO at once.
const drainQuiet = 100 * time.Millisecond

// drainMost bounds what is still read of an ended process's PTY: far more than
// the kernel holds of its output (some 20 KiB), so that a background job that
// never falls silent hides the end from nobody.
const drainMost = 256 << 10

// StartFunc starts a process and returns its pid and a function that waits for
// its end. PID 1 of a sandbox brings its own, since it must reap every process.
type StartFunc func(path string, argv []string, attr *os.ProcAttr) (pid int, wait func() Exit, err error)

// Local spawns on this machine. The zero value is ready to use.
type Local struct {
	Start StartFunc // nil: the ordinary way
}

// Spawn starts c on a new PTY.
func (l Local) Spawn(_ context.Context, c Command) (Pty, error) {
	if len(c.Argv) == 0 {
		return nil, errors.New("spawn: no command")
	}
	var path, dir string
	var err error
	// As whom it will run: a home is closed to others, also to a root without
	// capabilities.
	AsUser(c.UID, c.GID, func() {
		path, err = lookPath(c.Argv[0], c.Env)
		dir = startDir(c)
	})
	if err != nil {
		return nil, err
	}
	master, slave, err := openPair(c)
	if err != nil {
		return nil, err
	}
	defer slave.Close()
	start := l.Start
	if start == nil {
		start = startProcess
	}
	attr := &os.ProcAttr{
		// Never nil: the process would get this one's environment.
		Dir: dir, Env: append([]string{}, c.Env...), Files: []*os.File{slave, slave, slave},
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
	}
	if c.UID != 0 || c.GID != 0 {
		attr.Sys.Credential = &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.GID)}
	}
	ordinarySignals()
	pid, wait, err := start(path, c.Argv, attr)
	if err != nil {
		master.Close()
		return nil, fmt.Errorf("start %s: %w", c.Argv[0], err)
	}
	raiseOOMScore(c, pid)
	p := &local{f: master, pid: pid, uid: c.UID, gid: c.GID, ended: make(chan struct{})}
	if p.raw, err = master.SyscallConn(); err != nil {
		panic(fmt.Sprintf("terminal: an open file has no descriptor: %v", err))
	}
	go p.await(wait)
	return p, nil
}

// ordinarySignals has all that is started from now on begin with the ordinary
// actions of signals. What this process was started with ignored, as nohup(1) has
// it, stays so in all that comes of it: a shell could not trap SIGHUP any more, and
// a closed tab's programs would not hear of it. It makes no difference for this
// process, which hears such a signal and does nothing.
var ordinarySignals = sync.OnceFunc(func() {
	unheard := make(chan os.Signal, 1)
	for _, s := range ignoredSignals() {
		signal.Notify(unheard, s)
	}
})

// ignoredSignals are those that this process ignores (proc(5), SigIgn), as
// signal.Ignored does not know of all.
func ignoredSignals() (out []os.Signal) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil { // no procfs: as it was
		return nil
	}
	_, rest, _ := strings.Cut(string(status), "\nSigIgn:")
	line, _, _ := strings.Cut(rest, "\n")
	mask, _ := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	for s := range unix.Signal(64) {
		if mask>>s&1 == 1 {
			out = append(out, s+1)
		}
	}
	return out
}

// oomScore is added to the kernel's readiness to end what runs in a terminal when
// memory runs out (proc(5), oom_score_adj; 1000 is most): before the guest, which
// all of a session's terminals hang on, however many and small they are.
const oomScore = 300

// raiseOOMScore does that for a new process, which its children inherit; only
// lowering needs a privilege. It goes on without where it cannot: in a kernel
// that has no such thing, or after the process has ended.
func raiseOOMScore(c Command, pid int) {
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return
	}
	now, err := strconv.Atoi(strings.TrimSpace(string(own)))
	if err != nil {
		return
	}
	AsUser(c.UID, c.GID, func() {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(min(now+oomScore, 1000))), 0)
	})
}

// openPair opens a PTY of the command's size whose master is non-blocking:
// creack/pty's is blocking, and each blocked read would hold a thread.
func openPair(c Command) (master, slave *os.File, err error) {
	m, s, err := pty.Open()
	if err != nil {
		return nil, nil, fmt.Errorf("open a terminal: %w", err)
	}
	fail := func(err error) (*os.File, *os.File, error) {
		s.Close()
		return nil, nil, err
	}
	fd, err := unix.FcntlInt(m.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	m.Close()
	if err != nil {
		return fail(fmt.Errorf("duplicate a terminal: %w", err))
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return fail(fmt.Errorf("make a terminal non-blocking: %w", err))
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	size := pty.Winsize{Cols: uint16(c.Cols), Rows: uint16(c.Rows)}
	if err := pty.Setsize(s, &size); err != nil {
		master.Close()
		return fail(fmt.Errorf("size a terminal: %w", err))
	}
	if c.UID != 0 || c.GID != 0 {
		// The shell must be able to open its own terminal by name. GID stays
		// tty's where it is, so that nobody else may write to it.
		if err := s.Chown(c.UID, -1); err != nil {
			master.Close()
			return fail(fmt.Errorf("give a terminal to its user: %w", err))
		}
	}
	return master, s, nil
}

func getenv(env []string, key string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], key+"="); ok {
			return v
		}
	}
	return ""
}

func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(getenv(env, "PATH")) {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, os.ErrNotExist)
}

func startDir(c Command) string {
	for _, dir := range []string{c.Dir, getenv(c.Env, "HOME")} {
		if st, err := os.Stat(dir); dir != "" && err == nil && st.IsDir() {
			return dir
		}
	}
	return "/"
}

func startProcess(path string, argv []string, attr *os.ProcAttr) (int, func() Exit, error) {
	p, err := os.StartProcess(path, argv, attr)
	if err != nil {
		return 0, nil, err
	}
	return p.Pid, func() Exit {
		st, err := p.Wait()
		if err != nil {
			return Exit{Code: -1}
		}
		return exitOf(unix.WaitStatus(st.Sys().(syscall.WaitStatus)))
	}, nil
}

// exitOf translates what wait(2) says.
func exitOf(ws unix.WaitStatus) Exit {
	if ws.Signaled() {
		name := strings.TrimPrefix(unix.SignalName(ws.Signal()), "SIG")
		return Exit{Code: 128 + int(ws.Signal()), Signal: name}
	}
	return Exit{Code: ws.ExitStatus()}
}

type local struct {
	f        *os.File
	raw      syscall.RawConn
	pid      int
	uid, gid int
	ended    chan struct{} // closed once exit is set
	exit     Exit
	closing  sync.Once

	// Read's own.
	drained int           // bytes read since the process ended
	quiet   time.Duration // time waited for bytes since then
}

func (p *local) await(wait func() Exit) {
	p.exit = wait()
	// Wakes a blocked Read, which then drains, and a Write nobody will read. It
	// goes before ended, or it could undo the deadline that Read drains by.
	p.f.SetDeadline(time.Now())
	close(p.ended)
}

func (p *local) Read(b []byte) (int, error) {
	for {
		select {
		case <-p.ended:
			return p.drain(b)
		default:
		}
		n, err := p.f.Read(b)
		switch {
		case n > 0:
			return n, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			<-p.ended
		case errors.Is(err, os.ErrClosed):
			return 0, io.EOF
		case errors.Is(err, syscall.EIO):
			// No process has the terminal open: the shell is ending, or has let
			// go of a terminal that it may open again (tty(4)).
			select {
			case <-p.ended:
			case <-time.After(drainQuiet):
			}
		default:
			return 0, err
		}
	}
}

// drain is Read once the process has ended: what it wrote is there or about to
// be; what else comes, from a background job, is nobody's to wait for.
func (p *local) drain(b []byte) (int, error) {
	if p.drained >= drainMost {
		return 0, io.EOF
	}
	if p.quiet >= drainQuiet {
		return p.readReady(b)
	}
	began := time.Now()
	p.f.SetReadDeadline(began.Add(drainQuiet - p.quiet))
	n, err := p.f.Read(b)
	p.quiet += time.Since(began)
	p.drained += n
	switch {
	case n > 0:
		return n, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return p.readReady(b)
	case errors.Is(err, os.ErrClosed), errors.Is(err, syscall.EIO):
		return 0, io.EOF
	}
	return 0, err
}

// readReady is a drain whose time is up: it returns what is there, and EOF only
// once nothing is. The time says little of the terminal where it was spent
// waiting for a processor.
func (p *local) readReady(b []byte) (n int, err error) {
	p.f.SetReadDeadline(time.Time{})
	rerr := p.raw.Read(func(fd uintptr) bool {
		for n, err = unix.Read(int(fd), b); err == unix.EINTR; n, err = unix.Read(int(fd), b) {
		}
		return true // also on EAGAIN: never wait
	})
	if rerr != nil || err != nil || n <= 0 {
		return 0, io.EOF
	}
	p.drained += n
	return n, nil
}

func (p *local) Write(b []byte) (int, error) { return p.f.Write(b) }

func (p *local) TryWrite(b []byte) (n int, err error) {
	rerr := p.raw.Write(func(fd uintptr) bool {
		n, err = unix.Write(int(fd), b)
		return true // also on EAGAIN: never wait
	})
	if rerr != nil {
		return 0, rerr
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return max(n, 0), err
}

func (p *local) Resize(cols, rows int) error {
	var err error
	rerr := p.raw.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(cols), Row: uint16(rows)})
	})
	return errors.Join(rerr, err)
}

// foreground is the process group that the terminal's keys would signal.
func (p *local) foreground() (int, error) {
	var pgrp int
	var err error
	rerr := p.raw.Control(func(fd uintptr) { pgrp, err = unix.IoctlGetInt(int(fd), unix.TIOCGPGRP) })
	if rerr != nil || err != nil {
		return 0, errors.Join(rerr, err)
	}
	if pgrp <= 1 { // 0: none; never signal ourselves or everything
		return 0, fmt.Errorf("no foreground process: %w", unix.ESRCH)
	}
	return pgrp, nil
}

var signals = map[string]unix.Signal{
	"INT": unix.SIGINT, "TERM": unix.SIGTERM, "HUP": unix.SIGHUP, "KILL": unix.SIGKILL,
	"QUIT": unix.SIGQUIT, "TSTP": unix.SIGTSTP, "CONT": unix.SIGCONT,
}

func (p *local) Signal(name string) error {
	sig, ok := signals[name]
	if !ok {
		return fmt.Errorf("%w: %q", ErrBadSignal, name)
	}
	pgrp, err := p.foreground()
	if err != nil {
		return err
	}
	return unix.Kill(-pgrp, sig)
}

func (p *local) Hangup() error { return p.signalAll(unix.SIGHUP) }
func (p *local) Kill() error   { return p.signalAll(unix.SIGKILL) }

// signalAll reaches the shell's own process group and the foreground one; with
// SIGKILL also every other process of the session, since a shell that is killed
// cannot pass it on to its jobs. SIGHUP it does pass on, but to those that were
// disowned or run under nohup.
func (p *local) signalAll(sig unix.Signal) error {
	if pgrp, err := p.foreground(); err == nil && pgrp != p.pid {
		unix.Kill(-pgrp, sig) // it may have ended meanwhile
		unix.Kill(-pgrp, unix.SIGCONT)
	}
	select {
	case <-p.ended: // the pid may be another's by now
		return nil
	default:
	}
	if sig == unix.SIGKILL {
		killSession(p.pid)
	}
	if err := unix.Kill(-p.pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	unix.Kill(-p.pid, unix.SIGCONT) // a stopped process sees SIGHUP only when continued
	return nil
}

func (p *local) Process() string {
	pgrp, err := p.foreground()
	if err != nil {
		return ""
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pgrp) + "/comm")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (p *local) Wait() Exit {
	<-p.ended
	return p.exit
}

func (p *local) Close() error {
	var err error
	p.closing.Do(func() { err = p.f.Close() })
	return err
}
