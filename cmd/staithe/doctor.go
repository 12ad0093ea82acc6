package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"

	"staithe/internal/config"
	"staithe/internal/muxclient"
	"staithe/internal/sandbox"
	"staithe/internal/station"
	"staithe/internal/store"
	"staithe/internal/volume/jail"
	"staithe/internal/volume/restic"
	"staithe/internal/wire"
)

// doctorTimeout bounds one hop.
const doctorTimeout = 60 * time.Second

func doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Walk every hop from the port to a shell, and say what to mend",
		Long: `Check, one after another, all that a session needs, with the settings that
serve would use. A private server is started in a temporary directory for the
hops from the sandbox on; nothing of yours is changed. The exit code is 1 when
a hop fails.`,
		Args: cobra.NoArgs,
	}
	loader := configFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loader.Load(os.Getenv)
		if err != nil {
			return err
		}
		d := &doctor{cfg: cfg, out: cmd.OutOrStdout()}
		return d.run(cmd.Context())
	}
	return c
}

// doctor walks the hops and prints a line each.
type doctor struct {
	cfg    config.Config
	out    io.Writer
	failed int
	wayOut error // why sessions cannot have a network; nil: they can
}

func (d *doctor) run(ctx context.Context) error {
	d.hop(ctx, "data", d.data)
	d.hop(ctx, "listen", d.listen)
	d.hop(ctx, "store", d.store)
	for _, c := range preflight(engine(d.cfg)) {
		d.line(c)
	}
	for _, c := range d.advice() {
		d.line(c)
	}
	if wantsNetwork(d.cfg) {
		d.hop(ctx, "network", d.network)
	} else if d.wayOut = tryWayOut(ctx); d.wayOut != nil {
		fmt.Fprintf(d.out, "- network: none for sessions: %s\n", sentenceOf(d.wayOut))
	} else {
		d.line(sandbox.Check{Name: "network", OK: true, Detail: "sessions can have a way out"})
	}
	d.backups(ctx)
	d.git()
	d.classes(ctx)
	if d.failed == 0 {
		d.walk(ctx)
	} else {
		fmt.Fprintln(d.out, "- files, guest, pty, websocket: not tried; mend the above first")
	}
	if d.failed > 0 {
		fmt.Fprintf(d.out, "\n%d of the hops failed.\n", d.failed)
		return exitCode(1)
	}
	fmt.Fprintln(d.out, "\nAll is well: `staithe serve` will work.")
	return nil
}

// backups says whether there will be any: sessions work without.
func (d *doctor) backups(ctx context.Context) {
	program, version, err := restic.Find(ctx)
	if err == nil {
		err = jail.Check()
	}
	switch {
	case d.cfg.Backups == "off":
		fmt.Fprintln(d.out, "- backups: turned off by the setting backups = off")
	case err != nil:
		fmt.Fprintf(d.out, "- backups: there will be none: %s\n", sentenceOf(err))
	case d.cfg.S3.Bucket == "":
		d.line(sandbox.Check{Name: "backups", OK: true, Detail: fmt.Sprintf("restic %s at %s, into the data directory", version, program),
			Fix: "a bucket elsewhere (S3_BUCKET), or this machine's disk takes the backups with it"})
	default:
		d.line(sandbox.Check{Name: "backups", OK: true, Detail: fmt.Sprintf("restic %s at %s, into %s", version, program, bucket(d.cfg))})
	}
}

// line prints one check.
func (d *doctor) line(c sandbox.Check) {
	if c.OK {
		fmt.Fprintf(d.out, "✓ %s: %s\n", c.Name, c.Detail)
		if c.Fix != "" {
			fmt.Fprintf(d.out, "    better: %s\n", c.Fix)
		}
		return
	}
	d.failed++
	fmt.Fprintf(d.out, "✗ %s: %s\n", c.Name, c.Detail)
	for line := range strings.Lines(c.Fix) {
		fmt.Fprintf(d.out, "    %s\n", strings.TrimRight(line, "\n"))
	}
}

// hop runs one check and prints it.
func (d *doctor) hop(ctx context.Context, name string, check func(context.Context) (string, error)) bool {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	detail, err := check(ctx)
	c := sandbox.Check{Name: name, OK: err == nil, Detail: detail}
	if err != nil {
		c.Detail = err.Error()
		var p *station.Problem
		if errors.As(err, &p) {
			c.Detail, c.Fix = "failed", p.Sentence
			if p.Cause != nil {
				c.Detail = p.Cause.Error()
			}
		}
	}
	d.line(c)
	return err == nil
}

// data writes to the data directory and takes all of it away again.
func (d *doctor) data(context.Context) (string, error) {
	_, err := os.Stat(d.cfg.Data)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(d.cfg.Data, 0o711); err != nil {
		return "", diskError("make the data directory", err)
	}
	probe := filepath.Join(d.cfg.Data, ".doctor")
	err = writeWhole(probe, make([]byte, 64<<10))
	if err == nil {
		err = os.Remove(probe)
	}
	if fresh {
		err = errors.Join(err, os.Remove(d.cfg.Data))
	}
	if err != nil {
		return "", diskError("write to the data directory", err)
	}
	return d.cfg.Data + " may be written", nil
}

func (d *doctor) listen(ctx context.Context) (string, error) {
	ln, err := listen(ctx, d.cfg.Listen)
	if err == nil {
		return d.cfg.Listen + " is free", ln.Close()
	}
	if errors.Is(err, station.ErrConflict) && answersHealth(ctx, "http://"+d.cfg.Listen) {
		return "a staithe serves on " + d.cfg.Listen + " already", nil
	}
	return "", err
}

func answersHealth(ctx context.Context, base string) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second) // whatever listens there may never answer
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/healthz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// store tries the database on one of its own beside the real one, which a
// server may be using.
func (d *doctor) store(ctx context.Context) (string, error) {
	parent := d.cfg.Data
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
		parent = "" // nothing is there to look beside
	}
	dir, err := os.MkdirTemp(parent, ".doctor-")
	if err != nil {
		return "", diskError("try the database", err)
	}
	defer os.RemoveAll(dir)
	s, err := store.Open(ctx, dir)
	if err != nil {
		return "", err
	}
	err = s.Ready(ctx)
	return "a database opens and answers", errors.Join(err, s.Close())
}

// walk starts a private server and goes the whole way to a shell.
func (d *doctor) walk(ctx context.Context) {
	dir, err := os.MkdirTemp("", "staithe-doctor-")
	if err == nil {
		err = os.Chmod(dir, 0o711) // sandboxes reach their home through it
	}
	if err != nil {
		d.line(sandbox.Check{Name: "temporary directory", Detail: err.Error(), Fix: "Make room in " + os.TempDir() + ", or set TMPDIR."})
		return
	}
	defer os.RemoveAll(dir)
	cfg := d.cfg
	cfg.Data, cfg.Listen, cfg.URL, cfg.DevPage = dir, "127.0.0.1:0", "", ""
	ctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	lines := newLineWatch()
	go func() {
		err := serve(ctx, cfg, lines, slog.New(slog.DiscardHandler))
		lines.end(err)
		served <- err
	}()
	w := &walker{lines: lines}
	ok := d.hop(ctx, "server", w.start) && d.hop(ctx, "files", w.files) && d.hop(ctx, "guest", w.session) && d.hop(ctx, "websocket", w.connect) && d.hop(ctx, "pty", w.shell)
	if w.made.ID != "" {
		// Sandboxes outlive their server, so this one is deleted by name.
		if err := w.api.call(ctx, http.MethodDelete, "/sessions/"+string(w.made.ID), nil, nil); err != nil && ok {
			d.line(sandbox.Check{Name: "clean up", Detail: err.Error(), Fix: "Run staithe doctor again; if it stays, end the leftover processes in " + dir + "."})
		}
	}
	if w.stop != nil {
		w.stop()
	}
	stop()
	<-served
	if err := endHelpers(dir); err != nil {
		d.line(sandbox.Check{Name: "clean up", Detail: err.Error(), Fix: "End the processes named staithe-files that are left in " + dir + "."})
	}
}

// walker is a person's way to a shell.
type walker struct {
	lines  *lineWatch
	api    *api
	made   station.Session
	client *muxclient.Client
	stop   func()
}

func (w *walker) start(ctx context.Context) (string, error) {
	setup, err := w.lines.wait(ctx, "setup: ")
	if err != nil {
		return "", err
	}
	if _, err := w.lines.wait(ctx, "ready: "); err != nil {
		return "", err
	}
	base, token, _ := strings.Cut(setup, "/setup#")
	if w.api, err = newAPI(base, ""); err != nil {
		return "", err
	}
	body := map[string]string{"token": token, "username": "doctor", "password": string(station.NewID() + station.NewID())}
	if err := w.api.call(ctx, http.MethodPost, "/setup", body, nil); err != nil {
		return "", err
	}
	var made struct{ Token string }
	if err := w.api.call(ctx, http.MethodPost, "/tokens", map[string]any{"name": "doctor", "scopes": []string{"*"}}, &made); err != nil {
		return "", err
	}
	w.api.token = made.Token
	return "serves, takes a first user and a login", nil
}

func (w *walker) session(ctx context.Context) (string, error) {
	begun := time.Now()
	if err := w.api.call(ctx, http.MethodPost, "/sessions/main/wake", nil, &w.made); err != nil {
		return "", err
	}
	if w.made.State != station.StateRunning {
		return "", station.Errorf(station.ErrUnavailable, "not_running", "The session is %s: %s", w.made.State, w.made.Reason)
	}
	return fmt.Sprintf("a sandbox runs and its guest answers (%d ms)", time.Since(begun).Milliseconds()), nil
}

func (w *walker) connect(ctx context.Context) (string, error) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.client = muxclient.New(muxclient.Options{
		Dial: func(ctx context.Context) (*websocket.Conn, error) { return w.api.mux(ctx, w.made.ID) },
	})
	ended := make(chan error, 1)
	go func() { ended <- w.client.Run(running) }()
	w.stop = func() { stop(); <-ended }
	if _, err := w.client.Welcome(ctx); err != nil {
		return "", err
	}
	return "the gateway relays to the guest", nil
}

func (w *walker) shell(ctx context.Context) (string, error) {
	s := &echoSink{seen: make(chan struct{}), want: "staithe-42-doctor"}
	st, err := w.client.Open(ctx, wire.Open{Name: "doctor", Cols: 80, Rows: 24}, s)
	if err != nil {
		return "", err
	}
	if _, err := st.Write([]byte("echo staithe-$((40+2))-doctor\n")); err != nil {
		return "", err
	}
	select {
	case <-s.seen:
		return "a shell answers what is typed", nil
	case <-st.Done():
		return "", fmt.Errorf("the shell ended: %q", s.got)
	case <-ctx.Done():
		return "", fmt.Errorf("the shell did not answer in time: %q", s.got)
	}
}

// echoSink waits for a text.
type echoSink struct {
	want string
	got  string
	seen chan struct{}
	done bool
}

func (s *echoSink) Output(p []byte, _ muxclient.Kind) {
	s.got += string(p)
	if !s.done && strings.Contains(s.got, s.want) {
		s.done = true
		close(s.seen)
	}
}
func (s *echoSink) Reset(int64)    {}
func (s *echoSink) Size(int, int)  {}
func (s *echoSink) Exit(wire.Exit) {}
func (s *echoSink) Unsent([]byte)  {}
