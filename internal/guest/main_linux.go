package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/guestapi"
	"staithe/internal/terminal"
)

// shutdownTime bounds a polite end.
const shutdownTime = 10 * time.Second

// Main is the guest process: it reads its configuration from the environment
// (guestapi.ConfigEnv) and serves on the inherited descriptor
// guestapi.ListenFD, the one it fetches from guestapi.SocketEnv, or the one it
// makes at guestapi.ListenEnv, until SIGTERM. It reaps orphans. The error says why it could
// not serve.
func Main(version string, log *slog.Logger) error {
	var cfg guestapi.Config
	if err := json.Unmarshal([]byte(os.Getenv(guestapi.ConfigEnv)), &cfg); err != nil {
		return fmt.Errorf("%s: %w", guestapi.ConfigEnv, err)
	}
	// Nobody in the sandbox may look into this process, whatever its user.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("become non-dumpable: %w", err)
	}
	l, err := listener()
	if err != nil {
		return err
	}
	unix.Umask(0o022)

	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	// Caught and dropped rather than ignored: shells would inherit that. SIGPIPE
	// would end a guest that logs to a gateway that is gone.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE)
	// Orphans of its shells fall to the guest: as PID 1 anyway, and as one process
	// among others because it asks for them; what a session started is then found
	// below its guest. prctl(2), PR_SET_CHILD_SUBREAPER.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("take in orphans: %w", err)
	}
	reaper := terminal.NewReaper(true)
	defer reaper.Close()
	g := New(Options{Config: cfg, Spawner: terminal.Local{Start: reaper.Start}, Version: version, Log: log, Shells: shellsDir()})
	if dir := runDir(); dir != "" {
		inside, err := g.openInside(dir)
		if err != nil {
			log.Warn("programs in the session cannot speak to it", "error", err)
		}
		if inside != nil {
			defer inside.Close()
			go g.serveInside(inside) // ends with its listener
		}
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-term:
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	err = g.Shutdown(ctx)
	<-served
	return err
}

// listener is the socket that the host made: inherited, or fetched where nothing
// can be. Where the host's is of no use, the guest makes its own in the host's
// folder.
func listener() (net.Listener, error) {
	if path := os.Getenv(guestapi.ListenEnv); path != "" {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
		if err != nil {
			return nil, fmt.Errorf("make the listening socket: %w", err)
		}
		l.SetUnlinkOnClose(false) // the folder is the host's
		return l, nil
	}
	var f *os.File
	if path := os.Getenv(guestapi.SocketEnv); path != "" {
		var err error
		if f, err = guestapi.TakeSocket(path); err != nil {
			return nil, fmt.Errorf("fetch the listening socket: %w", err)
		}
	} else {
		f = os.NewFile(guestapi.ListenFD, "listener")
		unix.CloseOnExec(guestapi.ListenFD)
	}
	defer f.Close()
	l, err := net.FileListener(f) // a duplicate, close-on-exec
	if err != nil {
		return nil, fmt.Errorf("%s is no listening socket: %w", f.Name(), err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the file is the host's
	}
	return l, nil
}
