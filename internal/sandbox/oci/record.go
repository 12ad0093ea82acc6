package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

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

// newRecord notes a live process.
func newRecord(pid int, eng engine, base string) (record, error) {
	guest, err := hostproc.Note(pid)
	if err != nil {
		return record{}, err
	}
	return record{Process: guest, Kind: eng.kind, Engine: eng.path, Base: base, Unfinished: true}, nil
}

func (rec record) write(dir string) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	// Half a record is as none: then the engine's own state is asked.
	return os.WriteFile(filepath.Join(dir, recordName), b, 0o600)
}

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
