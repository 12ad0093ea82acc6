package egress

import (
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
	return hostproc.WriteRecord(filepath.Join(dir, recordName), rec)
}

// readRecord reads a folder's record. Without one, its process never got its
// configuration, and has ended.
func readRecord(dir string) (record, error) {
	rec, err := hostproc.ReadRecord[record](filepath.Join(dir, recordName))
	if err == nil && rec.PID <= 1 {
		err = errors.New("record: no pid")
	}
	return rec, err
}

// nsIdentity tells one namespace from another while either is open.
func nsIdentity(f *os.File) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", fmt.Errorf("look at the network namespace: %w", err)
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino), nil
}
