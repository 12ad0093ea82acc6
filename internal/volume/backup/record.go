package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"staithe/internal/station"
)

// record is what is known of a repository, kept across restarts. All of it was so
// when it was written; none of it can become untrue by time alone, but the
// repository may be changed by others: so a unit compares it when it starts.
type record struct {
	Place     string             `json:"place"` // elsewhere it says nothing
	Safe      time.Time          `json:"safe"`
	Scrubbed  time.Time          `json:"scrubbed"`
	Pruned    time.Time          `json:"pruned"`
	Forgotten int                `json:"forgotten"`          // snapshots made since
	Snapshots []station.Snapshot `json:"snapshots"`          // oldest first
	Unproved  []string           `json:"unproved,omitempty"` // those that could not be read back
	Left      []station.Left     `json:"left"`
	Damage    string             `json:"damage,omitempty"` // what the last look at the whole found
}

func (u *unit) recordPath() string {
	return filepath.Join(u.e.o.Data, stateDir, string(u.id)+".json")
}

// readRecord reads what an earlier server knew. One that is damaged, or of
// another place, is as none.
func (u *unit) readRecord() (record, error) {
	var r record
	b, err := os.ReadFile(u.recordPath())
	if errors.Is(err, fs.ErrNotExist) {
		return u.newRecord(), nil
	}
	if err != nil {
		return r, fmt.Errorf("read the state of backups: %w", err)
	}
	if err := json.Unmarshal(b, &r); err != nil || r.Place != u.e.place() {
		return u.newRecord(), nil
	}
	return r, nil
}

// newRecord is of a repository of which nothing is known. There is nothing to be
// pruned for a while.
func (u *unit) newRecord() record {
	return record{Place: u.e.place(), Pruned: time.Now()}
}

// keep writes the record. The caller holds the unit's lock. When it cannot be
// written, a later server knows less, and finds it out anew.
func (u *unit) keep() {
	b, err := json.Marshal(u.rec)
	if err == nil {
		err = writeWhole(u.recordPath(), b)
	}
	if err != nil {
		u.e.o.Log.Error("the state of backups cannot be kept", "workstation", u.id, "err", err)
	}
}
