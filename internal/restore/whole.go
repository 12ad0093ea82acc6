package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

const (
	// MarkName is in a data directory that is being restored. While it is there
	// no server starts.
	MarkName = "restoring.json"
	workName = "restoring"
	homesDir = "homes"
)

// Source is what a whole server is restored from.
type Source struct {
	Program  string // restic
	Launcher string // staithe-backup
	Key      string
	Bucket   restic.Bucket // none: Folder
	Folder   string        // with the repositories: server, and one by each workstation's id
	// Holds says whether there is anything in the bucket below a path (from its
	// prefix); with a bucket it is required.
	Holds func(ctx context.Context, path string) (bool, error)
}

// place is the source in words, without credentials.
func (s Source) place() string {
	if s.Bucket.Name != "" {
		return s.Bucket.String()
	}
	return s.Folder
}

// Whole has a whole server back, into a data directory that is empty.
type Whole struct {
	Data string
	From Source
	// Snapshot of the server's own repository; empty: the newest.
	Snapshot string
	// Without are the users (names) whose homes need not come.
	Without []string
	// Say tells the person a line of what is done.
	Say func(format string, args ...any)
	// Tell tells how much of a home is there; called a few times a second.
	Tell func(user string, bytes, files int64)
}

// mark is MarkName's content: whoever goes on must mean the same.
type mark struct {
	From     string    `json:"from"`
	Snapshot string    `json:"snapshot"` // of the server's own; empty: not known yet
	Began    time.Time `json:"began_at"`
	// Homes are those that are there, or the last one begun: when their snapshots
	// were made.
	Homes map[station.ID]time.Time `json:"homes"`
}

// Restore does it, or goes on with what was cut off. What is done is not done
// again. The errors are sentences for the person.
func (s *Whole) Restore(ctx context.Context) error {
	m, err := s.begin()
	if err != nil {
		return err
	}
	manifest, err := s.server(ctx, &m)
	if err != nil {
		return err
	}
	if err := s.homes(ctx, manifest, &m); err != nil {
		return err
	}
	if err := s.finish(); err != nil {
		return err
	}
	s.tell(manifest, m)
	return nil
}

// begin looks whether the directory is empty, or one in which this was cut off.
func (s *Whole) begin() (mark, error) {
	var m mark
	b, err := os.ReadFile(filepath.Join(s.Data, MarkName))
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &m); err != nil {
			return m, notEmpty(s.Data).Because(err)
		}
		if m.From != s.From.place() {
			return m, station.Errorf(station.ErrConflict, "other_restore",
				"%s is being restored from %s; go on with that, or choose another, empty directory with --data.", s.Data, m.From)
		}
		if !strings.HasPrefix(m.Snapshot, s.Snapshot) {
			return m, station.Errorf(station.ErrConflict, "other_restore",
				"%s is being restored from the server's snapshot %.8s; go on without --snapshot, or choose another, empty directory with --data.", s.Data, m.Snapshot)
		}
		s.Say("Going on with what was begun at %s.", m.Began.Local().Format("2006-01-02 15:04"))
		return m, nil
	case !errors.Is(err, fs.ErrNotExist):
		return m, fmt.Errorf("look at the data directory: %w", err)
	}
	if err := CheckEmpty(s.Data); err != nil {
		return m, err
	}
	return mark{From: s.From.place(), Began: time.Now().UTC()}, nil
}

// CheckEmpty says that a data directory has something that could be lost; nil: it
// has not, or it is one that is being restored.
func CheckEmpty(data string) error {
	entries, err := os.ReadDir(data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the data directory: %w", err)
	}
	if _, err := os.Lstat(filepath.Join(data, MarkName)); err == nil {
		return nil
	}
	for _, e := range entries {
		// Whoever restores holds the lock. Without a mark nothing that counts is in the other.
		if e.Name() != "lock" && e.Name() != workName {
			return notEmpty(data)
		}
	}
	return nil
}

func notEmpty(data string) *station.Problem {
	return station.Errorf(station.ErrConflict, "not_empty",
		"%s is not empty, and nothing in it may be lost; choose another directory with --data.", data)
}

func (s *Whole) keep(m mark) error {
	b, err := json.Marshal(m)
	if err == nil {
		err = whole(filepath.Join(s.Data, MarkName), b)
	}
	if err != nil {
		return fmt.Errorf("note what is being restored: %w", err)
	}
	return nil
}

// whole writes a private file so that it is whole or not there.
func whole(path string, b []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(path+".new", path), syncFolder(filepath.Dir(path)))
}

// syncFolder brings a folder's names to the disk.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncAll brings all of the file system that a folder is on to the disk.
func syncAll(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

// open opens one of the repositories.
func (s *Whole) open(name string) (*restic.Repo, error) {
	work := filepath.Join(s.Data, workName, name)
	o := restic.Options{Program: s.From.Program, Launcher: s.From.Launcher, Key: s.From.Key, Bucket: s.From.Bucket,
		Host: "staithe-restore", Cache: filepath.Join(work, "cache"), Lock: filepath.Join(work, "lock")}
	if err := os.MkdirAll(o.Cache, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for restic: %w", err)
	}
	switch {
	case s.From.Bucket.Name == "":
		o.Path = filepath.Join(s.From.Folder, name)
		if _, err := os.Stat(o.Path); err != nil {
			return nil, fmt.Errorf("the repository: %w", err)
		}
	case name == serverRepo:
		o.Path = name
	default:
		o.Path = workstationIn + "/" + name
	}
	return restic.Open(o)
}

// newest is the newest snapshot of a repository, or the one that is asked for.
func newest(ctx context.Context, r *restic.Repo, asked string) (restic.Snapshot, error) {
	_ = r.FindQuick(ctx) // else each step takes longer; what is wrong shows in the next
	list, err := r.Snapshots(ctx)
	if err != nil {
		return restic.Snapshot{}, err
	}
	list = slices.DeleteFunc(list, func(s restic.Snapshot) bool { return asked != "" && s.ID != asked && s.Long != asked })
	if len(list) == 0 {
		return restic.Snapshot{}, station.Errorf(station.ErrNotFound, "no_snapshot", "There is no such snapshot in the repository.")
	}
	return slices.MaxFunc(list, func(a, b restic.Snapshot) int { return a.At.Compare(b.At) }), nil
}

// server fetches what the server kept of itself, once.
func (s *Whole) server(ctx context.Context, m *mark) (Manifest, error) {
	if m.Snapshot == "" {
		at, err := s.fetchOwn(ctx, m)
		if err != nil {
			// Nothing was begun: another source can be tried.
			return Manifest{}, errors.Join(s.explain(err), os.RemoveAll(filepath.Join(s.Data, workName)))
		}
		if err := s.keep(*m); err != nil {
			return Manifest{}, err
		}
		s.Say("Fetched the database of %s.", at.Local().Format("2006-01-02 15:04:05"))
	}
	return readManifest(s.own())
}

func (s *Whole) fetchOwn(ctx context.Context, m *mark) (at time.Time, err error) {
	r, err := s.open(serverRepo)
	if err != nil {
		return at, err
	}
	snap, err := newest(ctx, r, s.Snapshot)
	if err != nil {
		return at, err
	}
	into := filepath.Join(s.Data, workName, "server-new")
	if err := fresh(into); err != nil {
		return at, err
	}
	if _, err := r.Restore(ctx, restic.RestoreRequest{Snapshot: snap.Long, Into: into, Place: s.Data}); err != nil {
		return at, err
	}
	if err := syncAll(into); err != nil {
		return at, fmt.Errorf("bring what was fetched to the disk: %w", err)
	}
	if err := os.RemoveAll(s.own()); err != nil {
		return at, fmt.Errorf("make room for the server's own: %w", err)
	}
	if err := os.Rename(filepath.Join(into, strings.TrimPrefix(restic.Top, "/")), s.own()); err != nil {
		return at, fmt.Errorf("take what was fetched: %w", err)
	}
	for _, name := range []string{DatabaseName, IdentityName} {
		if info, err := os.Lstat(filepath.Join(s.own(), name)); err != nil || !info.Mode().IsRegular() {
			return at, station.Errorf(station.ErrInvalid, "bad_server_backup",
				"What was kept of the server has no %s; ask for an earlier moment with --snapshot.", name).Because(err)
		}
	}
	m.Snapshot = snap.Long
	return snap.At, nil
}

// explain says what a failure means to whoever has no server yet.
func (s *Whole) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), restic.CodeOf(err) == restic.CodeNoRepository:
		return station.Errorf(station.ErrNotFound, "no_server_backup",
			"There is no backup of a server at %s; look at the name of the bucket, its prefix, or the folder.", s.From.place()).Because(err)
	case restic.CodeOf(err) == restic.CodeKey:
		return station.Errorf(station.ErrInvalid, restic.CodeKey,
			"The key does not open the backups at %s; give the one that the old server had in its backup.key.", s.From.place()).Because(err)
	}
	return err
}

// own is where what the server kept of itself waits.
func (s *Whole) own() string { return filepath.Join(s.Data, workName, "own") }

// fresh makes an empty folder.
func fresh(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("make an empty folder: %w", err)
	}
	return nil
}

// finish gives the server's own files their places, the mark's end last.
func (s *Whole) finish() error {
	var err error
	if _, serr := os.Lstat(filepath.Join(s.own(), BeforeName)); serr == nil {
		err = os.MkdirAll(filepath.Join(s.Data, "before-migration"), 0o700)
	}
	for _, f := range []struct{ from, to string }{{DatabaseName, DatabaseName}, {IdentityName, IdentityName}, {BeforeName, "before-migration/schema-0.db"}} {
		rerr := os.Rename(filepath.Join(s.own(), f.from), filepath.Join(s.Data, f.to))
		if errors.Is(rerr, fs.ErrNotExist) {
			continue // moved before, or optional
		}
		err = errors.Join(err, rerr)
	}
	// Of homes that were begun and then done without.
	begun, gerr := filepath.Glob(filepath.Join(s.Data, homesDir, ".new-*"))
	err = errors.Join(err, gerr)
	for _, b := range begun {
		err = errors.Join(err, os.RemoveAll(b))
	}
	err = errors.Join(err, whole(filepath.Join(s.Data, "backup.key"), []byte(s.From.Key+"\n")))
	if err == nil {
		err = syncAll(s.Data)
	}
	if err == nil {
		err = os.Remove(filepath.Join(s.Data, MarkName)) // first: without the rest it could not be gone on with
	}
	if err == nil {
		err = os.RemoveAll(filepath.Join(s.Data, workName))
	}
	if err != nil {
		return fmt.Errorf("put the server's own files in place: %w", err)
	}
	return nil
}

// CheckWhole says that a data directory is being restored, and how to go on; nil:
// it is not.
func CheckWhole(data string) error {
	b, err := os.ReadFile(filepath.Join(data, MarkName))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil // a data directory that is none is said elsewhere
	}
	var m mark
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return station.Errorf(station.ErrConflict, "half_restored",
		"%s is being restored from %s and is not whole yet; run `staithe restore --from` again to go on.", data, m.From).Because(err)
}
