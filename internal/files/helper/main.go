package helper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
)

// The descriptors that a helper is started with. Standard input has its Config.
const (
	ListenFD = 3 // the listening socket
	LockFD   = 5 // what is locked while the helper lives; it is only held
	HomeFD   = 4 // with Config.UID: the home as a mount of its own, that is nowhere yet (open_tree)
)

// memoryLimit is what the collector tries to stay below.
const memoryLimit = 256 << 20

// Config says what to serve and as whom.
type Config struct {
	Version string `json:"version"`
	Home    string `json:"home"`   // the folder on the host
	Inside  string `json:"inside"` // files.Options.Home
	UID     int    `json:"uid"`    // uid and gid to become, jailed; 0: stay as started, not jailed
	Idle    int    `json:"idle"`   // seconds without a request after which the helper ends
}

// Main runs a helper until it is told to end or has been idle.
func Main(log *slog.Logger) error {
	if err := keepRights(); err != nil {
		return err
	}
	var cfg Config
	if err := json.NewDecoder(io.LimitReader(os.Stdin, bodyMax)).Decode(&cfg); err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	debug.SetMemoryLimit(memoryLimit)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ln, err := net.FileListener(os.NewFile(ListenFD, "files.sock"))
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	held, err := lockDown(&cfg)
	if err != nil {
		return err
	}
	home, err := files.Open(cfg.Home, files.Options{Home: cfg.Inside})
	if err != nil {
		return err
	}
	defer home.Close()
	stopSweeping := sweep(ctx, home, log)
	defer stopSweeping()
	h := Handler(home, filesapi.Health{Version: cfg.Version, Jail: held}, log)
	return serve(ctx, ln, h, time.Duration(cfg.Idle)*time.Second)
}

// sweep removes what was left half made, beside all else: that may be a folder with
// a million files, and nobody is to wait for it. stop ends it; the next helper goes
// on.
func sweep(ctx context.Context, home *files.Home, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	rest, err := home.Left()
	var done sync.WaitGroup
	done.Go(func() {
		if err := errors.Join(err, rest(ctx)); err != nil && ctx.Err() == nil {
			log.Warn("what was left half made stays", "err", err)
		}
	})
	return func() { cancel(); done.Wait() }
}

// endPatience is how long requests under way have when the helper ends.
const endPatience = 10 * time.Second

// serve answers until ctx ends or no request has been for idle; 0: for ever.
func serve(ctx context.Context, ln net.Listener, h http.Handler, idle time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if idle > 0 {
		w := &watch{end: time.AfterFunc(idle, cancel), idle: idle}
		h = w.over(h)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 15 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	limited, stop := context.WithTimeout(context.Background(), endPatience)
	defer stop()
	err := srv.Shutdown(limited)
	if serr := <-done; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// watch ends a server that nobody asks for anything.
type watch struct {
	idle time.Duration

	mu   sync.Mutex
	busy int // requests under way
	end  *time.Timer
}

func (w *watch) over(h http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.count(1)
		defer w.count(-1)
		h.ServeHTTP(rw, r)
	})
}

func (w *watch) count(by int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy += by; w.busy > 0 {
		w.end.Stop()
	} else {
		w.end.Reset(w.idle)
	}
}
