package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"staithe/internal/hostproc"
	"staithe/internal/keylock"
	"staithe/internal/sandbox"
	"staithe/internal/sandbox/guestsock"
	"staithe/internal/station"
)

// Name is what the provider is asked for by.
const Name = sandbox.Unisolated

const (
	recordName = "record.json"
	logName    = "guest.log"
)

// Options say where sandboxes are kept.
type Options struct {
	Data string       // the data directory
	Log  *slog.Logger // required
}

// Runtime implements sandbox.Runtime without any isolation. Make it with New; it
// is safe for concurrent use. One process at a time may use a data directory.
type Runtime struct {
	dir   string // DATA/process
	log   *slog.Logger
	root  bool
	locks keylock.Locks[station.ID]
}

var _ sandbox.Runtime = (*Runtime)(nil)

// New returns a runtime over a data directory.
func New(o Options) (*Runtime, error) {
	if o.Log == nil {
		return nil, errors.New("process: no logger")
	}
	data, err := filepath.Abs(o.Data)
	if err != nil {
		return nil, fmt.Errorf("process: data directory: %w", err)
	}
	r := &Runtime{dir: filepath.Join(data, Name), log: o.Log, root: os.Geteuid() == 0}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, fmt.Errorf("process: data directory: %w", err)
	}
	return r, nil
}

// Left says whether a data directory has sessions of this provider, whether or
// not it is to make new ones.
func Left(data string) bool {
	entries, err := os.ReadDir(filepath.Join(data, Name))
	return err == nil && len(entries) > 0
}

// Describe says in plain words that there is no boundary.
func (r *Runtime) Describe(station.Class) string {
	who := "the account that the server runs as"
	if r.root {
		who = "the account that the user's home belongs to"
	}
	return "NO ISOLATION. Each session is plain processes of the server's machine, run as " + who +
		": they see the machine's files, processes and network, and no limit or network policy holds them. For development only."
}

func (r *Runtime) path(session station.ID) string { return filepath.Join(r.dir, string(session)) }

// record is what a session leaves for the next gateway.
type record struct {
	Guest hostproc.Process `json:"guest"`
	// Frozen are the processes that Freeze stopped, in that order.
	Frozen []hostproc.Process `json:"frozen,omitempty"`
}

func (r *Runtime) read(session station.ID) (record, error) {
	return hostproc.ReadRecord[record](filepath.Join(r.path(session), recordName))
}

func (r *Runtime) write(session station.ID, rec record) error {
	return hostproc.WriteRecord(filepath.Join(r.path(session), recordName), rec)
}

// Dial connects to the guest's socket; see sandbox.Runtime.
func (r *Runtime) Dial(ctx context.Context, session station.ID) (net.Conn, error) {
	return sandbox.DialGuest(ctx, session, func(ctx context.Context) (net.Conn, error) { return guestsock.Dial(ctx, r.path(session)) })
}

// List finds every session's processes; see sandbox.Runtime.
func (r *Runtime) List(ctx context.Context) ([]sandbox.Info, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	var out []sandbox.Info
	for _, e := range entries {
		info, there, err := r.Find(ctx, station.ID(e.Name()))
		if err != nil {
			return nil, err
		}
		if there {
			out = append(out, info)
		}
	}
	return out, nil
}

// Find looks for one session's processes; see sandbox.Runtime.
func (r *Runtime) Find(_ context.Context, session station.ID) (sandbox.Info, bool, error) {
	info := sandbox.Info{Session: session, Runtime: Name}
	if !session.Valid() {
		return info, false, nil
	}
	if _, err := os.Lstat(r.path(session)); errors.Is(err, fs.ErrNotExist) {
		return info, false, nil
	}
	// Without a readable record nothing is known to run; Stop finds what does.
	if rec, err := r.read(session); err == nil && rec.Guest.Alive() {
		info.Running, info.PID, info.Frozen = true, rec.Guest.PID, len(rec.Frozen) > 0
	}
	return info, true, nil
}
