package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"staithe/internal/muxclient"
	"staithe/internal/station"
	"staithe/internal/wire"
)

func attachCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "attach SESSION[/TAB]",
		Short: "Be in a session's shell, from this terminal",
		Long: `Attach this terminal to a tab of a session: the same shell that the page shows.
Without TAB it is the tab main, or the session's first. A dropped link comes
back by itself, with every byte. Its exit code is the shell's.

The detach key leaves the shell running.`,
		Args: cobra.ExactArgs(1),
	}
	key := c.Flags().String("detach-key", `ctrl-\`, "leave with this key: ctrl- and a letter or one of \\ ] ^ _, or none")
	fresh := c.Flags().Bool("new", false, "open the tab if it is not there")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		detach, err := parseKey(*key)
		if err != nil {
			return err
		}
		session, tab, named := strings.Cut(args[0], "/")
		if session == "" || named && tab == "" {
			return station.Errorf(station.ErrInvalid, "bad_target", "Say which session and tab: staithe attach SESSION or SESSION/TAB.")
		}
		if !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd())) {
			return station.Errorf(station.ErrInvalid, "no_terminal", "attach needs a terminal on both sides; run it from one.")
		}
		a, err := connect()
		if err != nil {
			return err
		}
		t := &attachment{api: a, session: session, tab: tab, open: *fresh, detachKey: detach, in: os.Stdin, out: os.Stdout}
		return t.run(cmd.Context())
	}
	return c
}

// parseKey reads ctrl-x; 0 is none.
func parseKey(s string) (byte, error) {
	s = strings.ToLower(s)
	if s == "none" {
		return 0, nil
	}
	if c, ok := strings.CutPrefix(s, "ctrl-"); ok && len(c) == 1 {
		if c[0] >= 'a' && c[0] <= 'z' {
			return c[0] - 'a' + 1, nil
		}
		if i := strings.IndexByte(`[\]^_`, c[0]); i >= 1 { // ctrl-[ is ESC: it begins every arrow key
			return 0x1b + byte(i), nil
		}
	}
	return 0, station.Errorf(station.ErrInvalid, "bad_key", `%q is no detach key; take ctrl-a to ctrl-z, ctrl-\, ctrl-], ctrl-^, ctrl-_ or none.`, s)
}

// attachment is one run of attach.
type attachment struct {
	api       *api
	session   string
	tab       string
	open      bool
	detachKey byte
	in, out   *os.File

	stream  *muxclient.Stream
	queries muxclient.Queries

	mu      sync.Mutex // keeps notes and output apart
	lost    bool
	exit    *wire.Exit
	waiting chan struct{} // closed when stream is set
}

func (t *attachment) run(ctx context.Context) error {
	var s station.Session
	// Attaching is a person's act: it wakes.
	if err := t.api.call(ctx, "POST", "/sessions/"+t.session+"/wake", nil, &s); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.waiting = make(chan struct{})
	client := muxclient.New(muxclient.Options{
		Name: "command line", State: t.state,
		Dial: func(ctx context.Context) (*websocket.Conn, error) { return t.api.mux(ctx, s.ID) },
	})
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	err := t.terminal(ctx, client)
	cancel()
	if runErr := <-ended; err == nil {
		err = runErr
	}
	return err
}

// terminal attaches with this terminal in raw mode, and gives it back.
func (t *attachment) terminal(ctx context.Context, client *muxclient.Client) error {
	a, err := t.target(ctx, client)
	if err != nil {
		return err
	}
	raw, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return fmt.Errorf("make this terminal raw: %w", err)
	}
	defer t.restore(raw)
	if a.Tab == "" {
		t.stream, err = client.Open(ctx, wire.Open{Name: t.tab, Cols: a.Cols, Rows: a.Rows}, t)
	} else {
		t.stream, err = client.Attach(ctx, a, t)
	}
	if err != nil {
		return err
	}
	close(t.waiting)
	var work sync.WaitGroup
	defer work.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work.Go(func() { t.follow(ctx) })
	return t.relay(ctx)
}

// target finds the tab and this terminal's size; Tab is "" for a new one.
func (t *attachment) target(ctx context.Context, client *muxclient.Client) (wire.Attach, error) {
	a := wire.Attach{Restart: true}
	var err error
	if a.Cols, a.Rows, err = term.GetSize(int(t.out.Fd())); err != nil || a.Cols == 0 || a.Rows == 0 {
		a.Cols, a.Rows = 80, 24
	}
	tabs, err := client.List(ctx)
	if err != nil {
		return a, err
	}
	for _, tab := range tabs {
		if tab.Tab == t.tab || tab.Name == t.tab || t.tab == "" && tab.Name == "main" {
			a.Tab = tab.Tab
			return a, nil
		}
	}
	switch {
	case t.tab == "" && len(tabs) > 0:
		a.Tab = tabs[0].Tab
	case t.tab != "" && !t.open:
		return a, station.Errorf(station.ErrNotFound, "no_such_tab", "Session %s has no tab %s; add --new to open it.", t.session, t.tab)
	}
	return a, nil
}

// restore gives the terminal back as a shell expects it: what the program in
// the tab had switched on is off here.
func (t *attachment) restore(raw *term.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprint(t.out, "\x1b[?1049l\x1b[?1000;1002;1003;1004;1006;2004l\x1b[?1l\x1b>\x1b[?25h\x1b[0m\r\n")
	term.Restore(int(t.in.Fd()), raw) // nothing better could be done
	if t.exit == nil {
		fmt.Fprintln(t.out, "[staithe: detached]")
	}
}

// follow tells the server of this terminal's size.
func (t *attachment) follow(ctx context.Context) {
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, unix.SIGWINCH)
	defer signal.Stop(winch)
	for {
		select {
		case <-winch:
			if cols, rows, err := term.GetSize(int(t.out.Fd())); err == nil && cols > 0 && rows > 0 {
				t.stream.Resize(cols, rows)
			}
		case <-ctx.Done():
			return
		}
	}
}

// relay types until the detach key, the shell's end or the connection's.
func (t *attachment) relay(ctx context.Context) error {
	keys := make(chan error, 1)
	go func() { keys <- t.typing() }() // ends with the process: a read of a terminal cannot be called off
	select {
	case err := <-keys:
		t.stream.Detach(ctx)
		return err
	case <-t.stream.Done():
		if err := t.stream.Err(); err != nil {
			return err
		}
		if t.exit.Code != 0 {
			return exitCode(t.exit.Code)
		}
		return nil
	case <-ctx.Done():
		t.stream.Detach(ctx)
		return nil
	}
}

// typing sends what is typed; it returns nil at the detach key.
func (t *attachment) typing() error {
	buf := make([]byte, 4096)
	for {
		n, err := t.in.Read(buf)
		p := buf[:n]
		i := -1
		if t.detachKey != 0 {
			i = strings.IndexByte(string(p), t.detachKey)
		}
		if i >= 0 {
			p = p[:i]
		}
		if _, werr := t.stream.Write(p); werr != nil {
			return nil // the stream's end says why
		}
		if i >= 0 || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read this terminal: %w", err)
		}
	}
}

// state says on the terminal when the link is lost, and when it is back.
func (t *attachment) state(s muxclient.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.waiting:
	default:
		return // not attached yet: the error is told as such
	}
	switch {
	case !s.Connected && !t.lost:
		t.lost = true
		fmt.Fprintf(t.out, "\x1b7\r\n\x1b[0m[staithe: connection lost, trying again; what you type is kept]\x1b8")
	case s.Connected && t.lost:
		t.lost = false
	}
}

// Reset, Output, Size, Exit and Unsent are muxclient.Sink.
func (t *attachment) Reset(int64) { t.queries = muxclient.Queries{} }

// Output draws. The guest answers what programs ask, and takes it out of the
// output; what comes all the same is not for this terminal to answer.
func (t *attachment) Output(p []byte, _ muxclient.Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out.Write(t.queries.Strip(nil, p)) // a terminal that is gone ends the process by SIGHUP
}

// Size is the driver's; this terminal cannot be resized from here.
func (t *attachment) Size(int, int) {}

// Exit notes how the shell ended.
func (t *attachment) Exit(e wire.Exit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.exit = &e
	how := fmt.Sprintf("with code %d", e.Code)
	if e.Signal != "" {
		how = "by signal " + e.Signal
	}
	fmt.Fprintf(t.out, "\r\n\x1b[0m[staithe: the shell ended %s]", how)
}

// Unsent says that a restart came before what was typed.
func (t *attachment) Unsent(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, "\r\n\x1b[0m[staithe: the shell was started anew; %d typed bytes were not sent]\r\n", len(p))
}
