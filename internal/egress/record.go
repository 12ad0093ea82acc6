package egress

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"staithe/internal/hostproc"
)

const (
	recordName = "record.json"
	socketName = "status.sock"
	logName    = "egress.log"
)

// record is what a way out leaves for the next gateway. NetNS tells one sandbox
// of a session from its next.
type record struct {
	hostproc.Process
	NetNS string `json:"netns"` // device and inode
	Wish  Path   `json:"wish"`  // auto: it may have left something on the host
}

func newRecord(pid int, netns string, wish Path) (record, error) {
	p, err := hostproc.Note(pid)
	return record{Process: p, NetNS: netns, Wish: wish}, err
}

func (rec record) write(dir string) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, recordName), b, 0o600)
}

// readRecord reads a folder's record. Half a one is as none: its process never
// got its configuration, and has ended.
func readRecord(dir string) (record, error) {
	var rec record
	b, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return rec, fmt.Errorf("record: %w", err)
	}
	if rec.PID <= 1 {
		return rec, errors.New("record: no pid")
	}
	return rec, nil
}

// nsIdentity tells one namespace from another while either is open.
func nsIdentity(f *os.File) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", fmt.Errorf("look at the network namespace: %w", err)
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino), nil
}
