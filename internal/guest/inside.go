package guest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/station"
)

// runEnv names the folder for the session's own socket and commands where it is
// not /run/staithe, for a guest that is not PID 1 of a sandbox.
const runEnv = "STAITHE_RUN"

const (
	insideSocket = "session.sock"
	// insideAtOnce bounds how many programs are served at once, insideTime how
	// long each is, insideLine how long a line is.
	insideAtOnce = 8
	insideTime   = 5 * time.Second
	insideLine   = 1 << 10
)

// runDir is where the session's socket and commands are; "" is nowhere.
func runDir() string {
	if dir := os.Getenv(runEnv); dir != "" {
		return dir
	}
	if self == 1 {
		return "/run/staithe"
	}
	return ""
}

// shellsDir is where what shells read is.
func shellsDir() string {
	if dir := runDir(); dir != "" {
		return filepath.Join(dir, "shell")
	}
	return ""
}

// wishes is the newest wish from inside to be kept awake, until the gateway has
// seen it.
type wishes struct {
	mu    sync.Mutex
	id    string
	until time.Time
}

func (w *wishes) make(d time.Duration, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.id, w.until = string(station.NewID()), now.Add(d)
}

// next is the wish that waits, nil when there is none but what was seen.
func (w *wishes) next(seen string, now time.Time) *guestapi.Awake {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.id == seen {
		w.id = ""
	}
	if w.id == "" {
		return nil
	}
	return &guestapi.Awake{ID: w.id, Seconds: int64(max(0, w.until.Sub(now)) / time.Second)}
}

// request is what a program in the session says on its socket, one line of JSON;
// reply is the answer.
type request struct {
	KeepAwake *int64 `json:"keep_awake"` // seconds; 0 ends it
}

type reply struct {
	Said  string `json:"said,omitempty"`
	Error string `json:"error,omitempty"`
}

// openInside makes the session's socket and commands; what cannot be made is
// left out, and said in the log.
func (g *Guest) openInside(dir string) (net.Listener, error) {
	path := filepath.Join(dir, insideSocket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	// Everybody in the session may; the folder is root's, so nobody else's
	// socket can stand here.
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, installCommands(dir)
}

// installCommands makes the commands, and lets login shells find them: most
// systems' /etc/profile sets PATH anew. Where /etc is read-only whoever made it
// has done that.
func installCommands(dir string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"keep-awake", "staithe"} {
		if err := os.Symlink(exe, filepath.Join(bin, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if self == 1 {
		const profile = "/etc/profile.d/staithe.sh"
		if _, err := os.Lstat(profile); errors.Is(err, os.ErrNotExist) {
			os.WriteFile(profile, []byte("PATH=\"$PATH:"+bin+"\"\n"), 0o644) // PATH of the environment must do
		}
	}
	return nil
}

// serveInside answers programs in the session until l is closed.
func (g *Guest) serveInside(l net.Listener) {
	slots := make(chan struct{}, insideAtOnce)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		slots <- struct{}{}
		g.work.Go(func() {
			defer func() { c.Close(); <-slots }()
			c.SetDeadline(time.Now().Add(insideTime))
			line, err := bufio.NewReader(io.LimitReader(c, insideLine)).ReadBytes('\n')
			if err != nil {
				return
			}
			json.NewEncoder(c).Encode(g.fulfil(line)) // who left needs no answer
		})
	}
}

func (g *Guest) fulfil(line []byte) reply {
	var r request
	if err := json.Unmarshal(line, &r); err != nil || r.KeepAwake == nil {
		return reply{Error: "say {\"keep_awake\": SECONDS}"}
	}
	d := time.Duration(*r.KeepAwake) * time.Second
	if *r.KeepAwake < 0 || *r.KeepAwake > int64(guestapi.MaxKeepAwake/time.Second) {
		return reply{Error: "a session is kept awake for at most 7 days (168h) at a time"}
	}
	now := time.Now()
	g.wishes.make(d, now)
	if d == 0 {
		return reply{Said: "The session may sleep again."}
	}
	return reply{Said: "The session stays awake until " + now.Add(d).UTC().Format("2 Jan 15:04 UTC") + "."}
}

// Command runs the guest's binary as a command inside the session: keep-awake,
// or staithe keep-awake. ok is false when it was started as the guest itself.
func Command(argv []string, out, errs io.Writer) (code int, ok bool) {
	name, args := "", []string(nil)
	if len(argv) > 0 {
		name, args = filepath.Base(argv[0]), argv[1:]
	}
	if name != "keep-awake" {
		if len(args) == 0 && name != "staithe" {
			return 0, false
		}
		if len(args) == 0 || args[0] != "keep-awake" {
			fmt.Fprintln(errs, "usage: staithe keep-awake 2h | off")
			return 2, true
		}
		args = args[1:]
	}
	said, err := keepAwake(args)
	if err != nil {
		fmt.Fprintln(errs, "keep-awake: "+err.Error())
		return 1, true
	}
	fmt.Fprintln(out, said)
	return 0, true
}

func keepAwake(args []string) (string, error) {
	if len(args) != 1 {
		return "", errors.New("say for how long: keep-awake 2h, keep-awake 90m, or keep-awake off")
	}
	d, err := guestapi.ParseKeepAwake(args[0])
	if err != nil {
		return "", err
	}
	dir := os.Getenv(runEnv)
	if dir == "" {
		dir = "/run/staithe"
	}
	ctx, cancel := context.WithTimeout(context.Background(), insideTime)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, insideSocket))
	if err != nil {
		return "", fmt.Errorf("this is no staithe session: %w", err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(insideTime))
	seconds := int64(d / time.Second)
	if err := json.NewEncoder(c).Encode(request{&seconds}); err != nil {
		return "", err
	}
	var r reply
	if err := json.NewDecoder(io.LimitReader(c, insideLine)).Decode(&r); err != nil {
		return "", fmt.Errorf("the session did not answer: %w", err)
	}
	if r.Error != "" {
		return "", errors.New(strings.TrimSpace(r.Error))
	}
	return r.Said, nil
}
