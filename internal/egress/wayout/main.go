package wayout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/egress"
	"staithe/internal/station"
)

const (
	// memoryLimit is what the collector tries to stay below.
	memoryLimit = 96 << 20
	// openFiles is enough for all flows, each of which has one socket here.
	openFiles = 4096
)

// Main runs the process until it is told to end, its sandbox ends, or its link
// is gone.
func Main(args []string, log *slog.Logger) error {
	if len(args) == 1 && args[0] == helperCommand {
		return plumbHelper()
	}
	if len(args) == 1 && args[0] == egress.ProbeCommand {
		return probe()
	}
	if len(args) != 0 {
		return errors.New("this program is started by staithe serve")
	}
	if err := beginAlone(); err != nil {
		return err
	}
	debug.SetMemoryLimit(memoryLimit)
	debug.SetGCPercent(50)
	runtime.GOMAXPROCS(min(runtime.NumCPU(), 4))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	control := os.NewFile(egress.ControlFD, "control")
	err := run(ctx, control, log)
	if err != nil {
		// When it was ready before, nobody reads this.
		_ = json.NewEncoder(control).Encode(egress.Ready{Failed: err.Error()})
	}
	return err
}

func run(ctx context.Context, control *os.File, log *slog.Logger) error {
	// Before the configuration comes: it comes when somebody waits.
	st, err := newStack()
	if err != nil {
		return err
	}
	cfg, fds, err := receive(control)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s, err := newServer(ctx, cfg, log)
	if err != nil {
		return err
	}
	said := egress.Ready{Path: egress.PathUserspace}
	way, err := takeKernelPath(cfg, fds)
	var l link
	switch {
	case err != nil:
		said.Why = err.Error()
		fallthrough
	case way == nil:
		if l, err = makeLink(cfg, fds); err != nil {
			return err
		}
	}
	// Held, they would keep the sandbox's namespaces alive.
	unix.Close(fds.netns)
	if cfg.Owner {
		unix.Close(fds.owner)
	}
	if err := lockDown(log); err != nil {
		return err
	}
	if way != nil {
		st.Destroy()
		said.Path = egress.PathKernel
		s.serveKernel(way, cancel)
	} else if err := s.serveUserspace(st, l, cancel); err != nil {
		return err
	}
	if cfg.Until {
		go func() { waitEnd(fds.until); cancel(nil) }()
	}
	ln, err := net.FileListener(os.NewFile(uintptr(fds.status), "status"))
	if err != nil {
		return fmt.Errorf("status socket: %w", err)
	}
	go s.serveStatus(ln)
	if err := json.NewEncoder(control).Encode(said); err != nil {
		return fmt.Errorf("tell the gateway: %w", err)
	}
	control.Close()
	debug.FreeOSMemory() // what the start needed
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// takeKernelPath makes the kernel's path when it is wanted; nil: it is not. The
// error is why it cannot be had here.
func takeKernelPath(cfg egress.Config, fds descriptors) (*router, error) {
	switch {
	case cfg.Path != egress.PathAuto:
		return nil, nil
	case cfg.Policy.Mode != station.NetworkInternet || len(cfg.Policy.Allow) > 0:
		return nil, nil // what is allowed by name is decided here, connection by connection
	case os.Geteuid() != 0:
		return nil, errors.New("the server is not root")
	}
	return plumbRouter(fds.netns, cfg.Session)
}

func makeLink(cfg egress.Config, fds descriptors) (link, error) {
	if cfg.Policy.Mode == station.NetworkNone {
		return link{}, errors.New("the policy is none: there is no way out to make")
	}
	if cfg.Owner && os.Geteuid() != 0 {
		return plumbAs(fds.owner, fds.netns)
	}
	return plumb(fds.netns)
}

// lockDown gives up all that carrying packets does not need. A process that was
// root becomes an account that owns nothing.
func lockDown(log *slog.Logger) error {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err == nil {
		files.Cur = min(files.Max, openFiles)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
			log.Warn("few files may be open; connections beyond are refused", "error", err)
		}
	}
	if os.Geteuid() == 0 {
		id := station.HostUID(station.MaxUIDRange+1, 0) // in no user's range
		err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(id, id, id), syscall.Setresuid(id, id, id))
		if err != nil {
			return fmt.Errorf("give up root: %w", err)
		}
	}
	if err := noNewPrivs(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("not dumpable: %w", err)
	}
	return nil
}

// waitEnd waits for the process behind a pidfd to end.
func waitEnd(fd int) {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// serveStatus tells whoever connects to the socket, which only the gateway can
// reach.
func (s *server) serveStatus(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			s.log.Error("status can no longer be asked for", "error", err)
			return
		}
		_ = conn.SetDeadline(time.Now().Add(2 * time.Second)) // should it fail, so does writing
		_ = json.NewEncoder(conn).Encode(s.status())          // who asked has left
		conn.Close()
	}
}
