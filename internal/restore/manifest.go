package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"staithe/internal/station"
)

// What a server keeps of itself: files of one folder.
const (
	DatabaseName  = "staithe.db"
	IdentityName  = "identity.key"
	BeforeName    = "before-migration.db" // the database before its schema was last changed; there may be none
	manifestName  = "manifest.json"
	manifestMax   = 64 << 20
	manifestForm  = 1
	serverRepo    = "server"
	workstationIn = "workstations"
)

// Manifest says what a server was.
type Manifest struct {
	Form         int        `json:"form"`
	At           time.Time  `json:"at"`
	Version      string     `json:"version"` // of staithe
	Workstations []Of       `json:"workstations"`
	Images       []Imported `json:"images"` // they are not kept: import them again
}

// Of is a workstation and whose it is.
type Of struct {
	ID       station.ID `json:"id"`
	User     string     `json:"user"` // the name
	UIDRange int        `json:"uid_range"`
}

// Imported is a base image that there was.
type Imported struct {
	Name   string `json:"name"`
	Source string `json:"source"`
}

// WriteManifest writes the manifest of a folder.
func WriteManifest(folder string, m Manifest) error {
	m.Form = manifestForm
	b, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, manifestName), append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the server's manifest: %w", err)
	}
	return nil
}

// readManifest reads one that came from a repository.
func readManifest(folder string) (Manifest, error) {
	f, err := os.Open(filepath.Join(folder, manifestName))
	var m Manifest
	if err == nil {
		defer f.Close()
		m, err = parseManifest(f)
	}
	if err != nil {
		return m, station.Errorf(station.ErrInvalid, "bad_server_backup", "What was kept of the server is damaged; ask for an earlier moment with --snapshot.").Because(err)
	}
	return m, nil
}

func parseManifest(r io.Reader) (m Manifest, err error) {
	if err := json.NewDecoder(io.LimitReader(r, manifestMax)).Decode(&m); err != nil {
		return m, err
	}
	if m.Form != manifestForm {
		return m, fmt.Errorf("a manifest of form %d", m.Form)
	}
	seen := map[station.ID]bool{}
	for _, w := range m.Workstations {
		if !w.ID.Valid() || seen[w.ID] {
			return m, fmt.Errorf("the workstation %+q is none", w.ID)
		}
		if err := errors.Join(station.CheckUIDRange(w.UIDRange), station.CheckName("user", w.User)); err != nil {
			return m, err
		}
		seen[w.ID] = true
	}
	return m, nil
}
