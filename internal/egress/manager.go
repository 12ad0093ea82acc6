package egress

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/egress/filter"
	"staithe/internal/egress/policy"
	"staithe/internal/keylock"
	"staithe/internal/station"
)

// Options make an Egress.
type Options struct {
	Data   string // the data directory, absolute; egress/ in it is ours
	Binary string // host path of the staithe-egress binary
	Log    *slog.Logger
	// ResolvConf is where the host's name servers are; empty: /etc/resolv.conf.
	ResolvConf string
	// Path is PathAuto or PathUserspace; empty: PathUserspace.
	Path Path
}

// Egress starts, finds and ends the ways out of a data directory. All methods
// are safe for concurrent use, and idempotent; calls for one session are
// serialised. A new Egress over the same directory finds what an earlier one
// started.
type Egress struct {
	dir        string
	binary     string
	resolvConf string
	wish       Path
	log        *slog.Logger
	locks      keylock.Locks[station.ID]
}

const (
	// startLimit bounds a start; one takes 30 ms.
	startLimit = 15 * time.Second
	// endPatience is how long a process may take to end by itself, endLimit how
	// long one takes at most to be killed.
	endPatience = time.Second
	endLimit    = 15 * time.Second
	// statusLimit bounds the wait for a status, and maxStatus its size: the
	// process has read what a sandbox sent.
	statusLimit = 2 * time.Second
	maxStatus   = 1 << 20
)

// New makes the folder. Errors wrap station.ErrUnavailable or ErrNoSpace.
func New(o Options) (*Egress, error) {
	e := &Egress{dir: filepath.Join(o.Data, "egress"), binary: o.Binary, resolvConf: o.ResolvConf, wish: cmp.Or(o.Path, PathUserspace), log: o.Log}
	if e.resolvConf == "" {
		e.resolvConf = "/etc/resolv.conf"
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if !filepath.IsAbs(o.Data) || !filepath.IsAbs(o.Binary) {
		return nil, errors.New("egress: the data directory and the binary need absolute paths")
	}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return nil, problem("make the egress folder", err)
	}
	return e, nil
}

// Resolver is the address at which our DNS answers inside every sandbox.
func (e *Egress) Resolver() string { return Resolver }

func (e *Egress) path(id station.ID) string { return filepath.Join(e.dir, string(id)) }

// problem makes a sentence of a failure that is the host's.
func problem(what string, err error) error {
	err = fmt.Errorf("%s: %w", what, err)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return station.Errorf(station.ErrNoSpace, "disk_full",
			"The server's disk is full; free some space in its data directory and try again.").Because(err)
	}
	return station.Errorf(station.ErrUnavailable, "no_network",
		"The session's network could not be set up; try again, and if it stays so, run staithe doctor on the server.").Because(err)
}

// Start gives the sandbox its way out: it returns when the sandbox has its
// interface, its addresses and its default route. Starting one that runs for
// the same network namespace does nothing; one of an earlier sandbox is ended
// first. For the policy none there is nothing to start. A Start that fails
// leaves nothing. Errors wrap station.ErrInvalid, ErrUnavailable or ErrNoSpace.
func (e *Egress) Start(ctx context.Context, spec Spec) error {
	if !spec.Session.Valid() {
		return station.Errorf(station.ErrInvalid, "bad_egress", "The session id %+q is not one.", spec.Session)
	}
	if _, err := policy.Compile(spec.Policy); err != nil {
		return err
	}
	unlock, err := e.locks.Lock(ctx, spec.Session)
	if err != nil {
		return err
	}
	defer unlock()
	if spec.Policy.Mode == station.NetworkNone {
		return e.remove(spec.Session)
	}
	spaces, err := openSpaces(spec)
	if err != nil {
		return problem("open the sandbox's namespaces", err)
	}
	defer spaces.close()
	if rec, err := readRecord(e.path(spec.Session)); err == nil && rec.Alive() && rec.NetNS == spaces.identity {
		return nil
	}
	if err := e.remove(spec.Session); err != nil {
		return err
	}
	p, err := e.launch(spec.Session)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, startLimit)
		defer cancel()
		err = e.configure(ctx, p, spec, spaces)
	}
	if err != nil {
		err = problem("start the egress process", err)
		return errors.Join(err, e.remove(spec.Session))
	}
	return nil
}

// spaces are the descriptors that a process works on. They are opened before
// anything else, so that no pid can change hands meanwhile.
type spaces struct {
	net, owner, until *os.File // owner and until may be nil
	identity          string
}

func openSpaces(spec Spec) (s spaces, err error) {
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if spec.Until != 0 {
		fd, err := unix.PidfdOpen(spec.Until, 0)
		if err != nil {
			return s, fmt.Errorf("the sandbox ended: %w", err)
		}
		s.until = os.NewFile(uintptr(fd), "until")
	}
	if spec.Owner != 0 {
		if s.owner, err = os.Open(fmt.Sprintf("/proc/%d/ns/user", spec.Owner)); err != nil {
			return s, err
		}
	}
	if s.net, err = os.Open(spec.NetNS); err != nil {
		return s, err
	}
	if kind, err := unix.IoctlRetInt(int(s.net.Fd()), unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return s, fmt.Errorf("%s is no network namespace", spec.NetNS)
	}
	if s.owner != nil && ownedByHost(s.net) {
		s.owner.Close()
		s.owner = nil
	}
	s.identity, err = nsIdentity(s.net)
	return s, err
}

// ownedByHost says whether a network namespace belongs to this process's own user
// namespace, as that of a runsc sandbox does: then none has to be entered for it.
func ownedByHost(netns *os.File) bool {
	fd, err := unix.IoctlRetInt(int(netns.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var owner, own unix.Stat_t
	return unix.Fstat(fd, &owner) == nil && unix.Stat("/proc/self/ns/user", &own) == nil && owner.Dev == own.Dev && owner.Ino == own.Ino
}

func (s spaces) close() {
	for _, f := range []*os.File{s.net, s.owner, s.until} {
		if f != nil {
			f.Close()
		}
	}
}

// Stop ends a session's way out and removes what is left of it. Stopping what
// is not there is no error.
func (e *Egress) Stop(ctx context.Context, id station.ID) error {
	if !id.Valid() {
		return nil // there can be none
	}
	unlock, err := e.locks.Lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if err := e.remove(id); err != nil {
		return fmt.Errorf("stop the way out of %s: %w", id, err)
	}
	return nil
}

// remove ends the process and removes the folder. The caller holds the lock.
func (e *Egress) remove(id station.ID) error {
	dir := e.path(id)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if rec, err := readRecord(dir); err == nil {
		if err := rec.End(endPatience, endLimit); err != nil {
			return err // the folder stays: it is how List finds what is left
		}
		if rec.Wish == PathAuto && os.Geteuid() == 0 {
			if err := filter.Clean(id); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(dir)
}

// List finds every way out, also half-made ones and those of an earlier
// process. It waits for no Start or Stop under way.
func (e *Egress) List(ctx context.Context) ([]Info, error) {
	entries, err := os.ReadDir(e.dir)
	if err != nil {
		return nil, fmt.Errorf("list the ways out: %w", err)
	}
	var out []Info
	for _, entry := range entries {
		info, there, err := e.Find(ctx, station.ID(entry.Name()))
		if err != nil {
			return nil, err
		}
		if there {
			out = append(out, info)
		}
	}
	return out, nil
}

// Find is List for one session; there is false when nothing is left of its way
// out.
func (e *Egress) Find(_ context.Context, id station.ID) (info Info, there bool, err error) {
	if !id.Valid() {
		return info, false, nil
	}
	info.Session = id
	if _, err := os.Lstat(e.path(id)); errors.Is(err, fs.ErrNotExist) {
		return info, false, nil
	}
	if rec, err := readRecord(e.path(id)); err == nil && rec.Alive() {
		info.Running, info.PID = true, rec.PID
	}
	return info, true, nil
}

// Status asks a session's way out what it has done. The error wraps
// station.ErrNotFound when none runs.
func (e *Egress) Status(ctx context.Context, id station.ID) (Status, error) {
	var st Status
	none := func(err error) (Status, error) {
		if ctx.Err() != nil {
			return st, ctx.Err()
		}
		return st, station.Errorf(station.ErrNotFound, "no_network_running", "The session has no network that runs; wake the session.").Because(err)
	}
	if !id.Valid() {
		return none(fmt.Errorf("bad session id %q", id))
	}
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	dir, err := openDir(e.path(id))
	if err != nil {
		return none(err)
	}
	defer dir.Close()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socketPath(dir))
	if err != nil {
		return none(err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return none(err)
	}
	if err := json.NewDecoder(io.LimitReader(conn, maxStatus)).Decode(&st); err != nil {
		return none(fmt.Errorf("read the status: %w", err))
	}
	return st, nil
}
