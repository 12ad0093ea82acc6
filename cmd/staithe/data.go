package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/station"
)

// diskError turns a failure of the file system into a sentence that says what
// to do.
func diskError(what string, err error) error {
	var pe *fs.PathError
	path := "the data directory"
	if errors.As(err, &pe) {
		path = pe.Path
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return station.Errorf(station.ErrNoSpace, "disk_full", "The disk that holds %s is full; free some space, or choose another place with --data.", path).Because(err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return station.Errorf(station.ErrForbidden, "data_not_writable", "%s may not be written by this user; choose a directory of your own with --data DIR, or change its owner.", path).Because(err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return station.Errorf(station.ErrInvalid, "data_not_a_directory", "%s is in the way and is not a directory; choose another with --data DIR.", path).Because(err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// dataDir is the data directory of one running server.
type dataDir struct {
	path string
	lock *os.File
}

// openData makes the data directory and locks it: two servers on one would
// fight over its sandboxes.
func openData(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o711); err != nil {
		return nil, diskError("make the data directory", err)
	}
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, diskError("lock the data directory", err)
	}
	if err := lockSoon(f); err != nil {
		f.Close()
		return nil, station.Errorf(station.ErrConflict, "data_in_use", "Another staithe serves %s; stop it first, or choose another directory with --data DIR.", path).Because(err)
	}
	return &dataDir{path, f}, nil
}

// lockPatience is how long a server waits for one that may be ending.
const lockPatience = 2 * time.Second

// lockSoon takes the lock. Of a server that was killed it may be held for a moment
// more: by what it was about to start, up to the moment in which that becomes
// another program. To wait for it is to wait for that.
func lockSoon(f *os.File) error {
	for end := time.Now().Add(lockPatience); ; <-time.After(10 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end) {
			return err
		}
	}
}

// Close lets the directory go.
func (d *dataDir) Close() error { return d.lock.Close() }

// signer returns the key that tells guests who speaks, making it the first
// time. It never leaves the data directory.
func (d *dataDir) signer() (*guestapi.Signer, error) {
	path := filepath.Join(d.path, "identity.key")
	seed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		seed = guestapi.NewSeed()
		err = writeWhole(path, seed)
	}
	if err != nil {
		return nil, diskError("the identity key", err)
	}
	s, err := guestapi.NewSigner(seed)
	if err != nil {
		return nil, station.Errorf(station.ErrInvalid, "bad_identity_key", "%s is damaged; move it away and start again: running sessions will have to be started anew.", path).Because(err)
	}
	return s, nil
}

// instance is this server's name where several share a database. It stays with
// the data directory, of which the lock lets one server at a time be: started
// again after a crash, it need not wait until its own leases have run out.
func (d *dataDir) instance() (station.ID, error) {
	path := filepath.Join(d.path, "instance")
	b, err := os.ReadFile(path)
	id := station.ID(strings.TrimSpace(string(b)))
	if err == nil && id.Valid() {
		return id, nil
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) { // none, or damaged: a new one costs half a minute
		id = station.NewID()
		err = writeWhole(path, []byte(id+"\n"))
	}
	if err != nil {
		return "", diskError("the server's name", err)
	}
	return id, nil
}

// writeWhole writes a private file so that it is whole or not there.
func writeWhole(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
