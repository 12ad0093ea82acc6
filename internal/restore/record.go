package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"staithe/internal/station"
)

// keptRecords is how many of a workstation are kept.
const keptRecords = 50

// The phases of a restore. One that ended stays in its last, but for undoing.
const (
	phaseFetching = "fetching" // the home is untouched
	phasePlacing  = "placing"  // it is in the home's staging, or about to be
	phaseUndoing  = "undoing"  // somebody wants it undone, and it is not yet
)

// record is a restore as it is kept: DATA/restores/WORKSTATION/ID.json.
type record struct {
	Workstation station.Workstation `json:"workstation"`
	Phase       string              `json:"phase"`
	Restore     station.Restore     `json:"restore"`
}

type records struct{ dir string }

func openRecords(data string) (records, error) {
	r := records{filepath.Join(data, "restores")}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return r, fmt.Errorf("make the restores' folder: %w", err)
	}
	return r, nil
}

// keep writes a record, whole or not at all.
func (r records) keep(now station.Restore, rec record) error {
	rec.Restore = now
	b, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode a restore: %w", err)
	}
	dir := filepath.Join(r.dir, string(rec.Workstation.ID))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep a restore: %w", err)
	}
	path := filepath.Join(dir, now.ID+".json")
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("keep a restore: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("keep a restore: %w", err)
	}
	return nil
}

// list is a workstation's records. What cannot be read is passed.
func (r records) list(ws station.ID) ([]record, error) {
	entries, err := os.ReadDir(filepath.Join(r.dir, string(ws)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the restores: %w", err)
	}
	var out []record
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(r.dir, string(ws), e.Name()))
		var rec record
		if err == nil && json.Unmarshal(b, &rec) == nil && rec.Restore.ID+".json" == e.Name() {
			out = append(out, rec)
		}
	}
	slices.SortFunc(out, func(a, b record) int { return b.Restore.Started.Compare(a.Restore.Started) })
	return out, nil
}

// all is every workstation's records, as far as they can be read.
func (r records) all() ([]record, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("list the restores: %w", err)
	}
	var out []record
	for _, e := range entries {
		if !station.ID(e.Name()).Valid() {
			continue
		}
		list, lerr := r.list(station.ID(e.Name()))
		err = errors.Join(err, lerr)
		out = append(out, list...)
	}
	return out, err
}

func (r records) remove(rec record) error {
	return os.Remove(filepath.Join(r.dir, string(rec.Workstation.ID), rec.Restore.ID+".json"))
}

// keep writes a record.
func (m *Manager) keep(rec record) error {
	m.keeping.Lock()
	defer m.keeping.Unlock()
	err := m.records.keep(rec.Restore, rec)
	if err == nil {
		delete(m.unkept, rec.Restore.ID)
	}
	return err
}

// keepEnd writes a record of what has happened already. On a full disk it is
// remembered, and written when there is room.
func (m *Manager) keepEnd(rec record) {
	if err := m.keep(rec); err != nil {
		m.o.Log.Error("how a restore ended cannot be kept yet", "restore", rec.Restore.ID, "err", err)
		m.keeping.Lock()
		defer m.keeping.Unlock()
		m.unkept[rec.Restore.ID] = rec
	}
}

// kept is a workstation's records as they are in truth, the newest first.
func (m *Manager) kept(ws station.ID) ([]record, error) {
	m.keeping.Lock()
	defer m.keeping.Unlock()
	for id, rec := range m.unkept {
		if rec.Workstation.ID == ws && m.records.keep(rec.Restore, rec) == nil {
			delete(m.unkept, id)
		}
	}
	list, err := m.records.list(ws)
	for i, rec := range list {
		if late, ok := m.unkept[rec.Restore.ID]; ok {
			list[i] = late
		}
	}
	return list, err
}

// removeRecord removes one.
func (m *Manager) removeRecord(rec record) error {
	m.keeping.Lock()
	defer m.keeping.Unlock()
	delete(m.unkept, rec.Restore.ID)
	return m.records.remove(rec)
}
