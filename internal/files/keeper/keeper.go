// Package keeper starts users' files helpers for the gateway and finds those
// again that an earlier gateway left (doc/decisions/0024).
package keeper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/files/filesapi"
	"staithe/internal/hostproc"
	"staithe/internal/keylock"
	"staithe/internal/station"
)

const (
	recordName = "record.json"
	socketName = "files.sock"
	lockName   = "lock"
	logName    = "files.log"

	greetLimit  = 10 * time.Second // for a helper's first answer
	endPatience = 15 * time.Second // longer than a helper gives its requests
	endLimit    = 10 * time.Second
)

// Options say how helpers are run.
type Options struct {
	Binary  string        // staithe-files
	Version string        // of it
	Idle    time.Duration // how long a helper lives without a request
}

// Home is what a helper is started for.
type Home struct {
	Workstation station.Workstation
	Path        string // the folder on the host
	Inside      string // what the home is called in sessions
}

// Keeper keeps the helpers of one data directory. Safe for concurrent use.
type Keeper struct {
	dir       string
	o         Options
	root      bool
	log       *slog.Logger
	transport *http.Transport           // to helpers
	locks     keylock.Locks[station.ID] // by workstation, while its helper is looked for, started or ended
}

// Open returns the keeper of a data directory.
func Open(data string, o Options, log *slog.Logger) (*Keeper, error) {
	k := &Keeper{dir: filepath.Join(data, "files"), o: o, root: os.Geteuid() == 0, log: log}
	k.transport = k.newTransport()
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the helpers' folder: %w", err)
	}
	return k, nil
}

// Close frees the connections to helpers. Helpers live on.
func (k *Keeper) Close() { k.transport.CloseIdleConnections() }

// Dial is a connection to the helper of a home. A helper that does not run is
// started; one of another version, which only an earlier gateway can have
// started, is ended first. The helper has answered on the connection, so that it
// will not end for being idle at this moment. The error wraps
// station.ErrUnavailable when there can be none.
func (k *Keeper) Dial(ctx context.Context, home Home) (net.Conn, error) {
	ws := home.Workstation
	if !ws.ID.Valid() {
		return nil, station.Errorf(station.ErrInvalid, "bad_workstation", "The workstation id %+q is not one.", ws.ID)
	}
	if err := station.CheckUIDRange(ws.UIDRange); err != nil {
		return nil, err
	}
	unlock, err := k.locks.Lock(ctx, ws.ID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	dir := filepath.Join(k.dir, string(ws.ID))
	// Also one without a record: a gateway may have been killed before it wrote it.
	if conn, version, err := greet(ctx, dir); err == nil {
		if version == k.o.Version {
			return conn, nil
		}
		conn.Close() // what it did for the earlier gateway was cut off with that
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := k.end(dir); err != nil {
		return nil, unavailable(err)
	}
	if err := k.start(home, dir); err != nil {
		return nil, unavailable(err)
	}
	conn, _, err := greet(ctx, dir)
	if err != nil {
		return nil, unavailable(fmt.Errorf("%w: %s", err, said(dir)))
	}
	return conn, nil
}

func unavailable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return station.Errorf(station.ErrUnavailable, "no_files", "The files cannot be served now; try again in a moment.").Because(err)
}

// End ends a workstation's helper, as before its home is removed or moved, and
// forgets it. One that is not there is no error.
func (k *Keeper) End(ctx context.Context, ws station.ID) error {
	if !ws.Valid() {
		return nil // there can be none
	}
	unlock, err := k.locks.Lock(ctx, ws)
	if err != nil {
		return err
	}
	defer unlock()
	dir := filepath.Join(k.dir, string(ws))
	if err := k.end(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

func (k *Keeper) end(dir string) error {
	rec, err := hostproc.ReadRecord[hostproc.Process](filepath.Join(dir, recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		k.log.Warn("a files helper's record cannot be read", "dir", dir, "err", err)
		return nil // should it run, it holds the lock
	}
	return rec.End(endPatience, endLimit)
}

// greet connects to a helper and hears whether it answers, and of which version
// it is.
func greet(ctx context.Context, path string) (_ net.Conn, version string, err error) {
	dir, err := openDir(path)
	if err != nil {
		return nil, "", err
	}
	defer dir.Close()
	ctx, cancel := context.WithTimeout(ctx, greetLimit)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socketPath(dir))
	if err != nil {
		return nil, "", err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	req, err := http.NewRequest(http.MethodGet, "http://files"+filesapi.PathHealth, nil)
	if err != nil {
		return nil, "", err
	}
	if err := req.Write(conn); err != nil {
		return nil, "", err
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	var h filesapi.Health
	if err := json.NewDecoder(res.Body).Decode(&h); err != nil {
		return nil, "", err
	}
	if _, err := res.Body.Read(make([]byte, 16)); err == nil || r.Buffered() > 0 || res.StatusCode != http.StatusOK {
		return nil, "", errors.New("the helper's answer is not one")
	}
	return conn, h.Version, nil
}

// A socket's address holds 107 bytes and data directories can be long. So both
// sides name the socket through a descriptor of its folder.
func socketPath(dir *os.File) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName)
}

func openDir(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// said is the end of what a helper wrote, for the log.
func said(dir string) string {
	const enough = 1024
	b, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%.1024q", b[max(0, len(b)-enough):])
}
