package oci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"staithe/internal/hostproc"
)

const (
	recordName = "record.json"
	pidName    = "pid"
)

// record is what a sandbox leaves for the next gateway.
type record struct {
	hostproc.Process
	Kind   engineKind `json:"kind"`
	Engine string     `json:"engine"` // path
	Base   string     `json:"base"`
	// UIDRange is the user's, missing in records of older versions.
	UIDRange *int `json:"uid_range,omitempty"`
	// Unenforced says which asked limits do not hold, see sandbox.Usage.
	Unenforced string `json:"unenforced,omitempty"`
	// Unfinished says that the engine has run, but what a start does after that
	// may be missing.
	Unfinished bool `json:"unfinished,omitempty"`
}

// newRecord notes a live process that an engine has just started.
func newRecord(pid int, eng engine, base string) (record, error) {
	guest, err := hostproc.Note(pid)
	if err == nil {
		err = awaitOpen(guest)
	}
	if err != nil {
		return record{}, err
	}
	return record{Process: guest, Kind: eng.kind, Engine: eng.path, Base: base, Unfinished: true}, nil
}

// openLimit bounds the wait for an engine's child to become the guest.
const openLimit = 10 * time.Second

// awaitOpen waits until a process's namespaces can be entered. An engine may end
// a moment before its child has executed the guest, and until then they are
// closed to a server that is not root. The kernel tells nobody when that changes,
// so it is asked again and again, mostly once. What stays closed is for those to
// tell who want to enter.
func awaitOpen(p hostproc.Process) error {
	for end := time.Now().Add(openLimit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		_, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", p.PID))
		if !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

func (rec record) write(dir string) error {
	return hostproc.WriteRecord(filepath.Join(dir, recordName), rec)
}

// readRecord reads a folder's record. Without one the engine's own state is asked.
func readRecord(dir string) (record, error) {
	rec, err := hostproc.ReadRecord[record](filepath.Join(dir, recordName))
	if err == nil && rec.PID <= 1 {
		err = errors.New("record: no pid")
	}
	return rec, err
}

// readPID reads the engine's pid file; 0 when there is none yet.
func readPID(dir string) int {
	b, err := os.ReadFile(filepath.Join(dir, pidName))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}
