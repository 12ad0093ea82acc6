package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// locked runs f while no other process switches or removes anything.
func (s *Store) locked(f func() error) error {
	l, err := os.OpenFile(filepath.Join(s.dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock images: %w", err)
	}
	defer l.Close()
	if err := s.handOver(l.Name()); err != nil {
		return err
	}
	for {
		err = unix.Flock(int(l.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("lock images: %w", err)
	}
	return f()
}

// stage is a version that is being built. Its folder is locked by the process
// that builds: what is not locked was left by one that died.
type stage struct {
	dir  string
	lock *os.File
	root *os.Root // of rootfs
}

func (s *Store) newStage() (st *stage, err error) {
	err = s.locked(func() error {
		s.clean()
		st = &stage{}
		if st.dir, err = os.MkdirTemp(s.dir, stagePrefix); err != nil {
			return err
		}
		if err = s.handOver(st.dir); err != nil {
			return err
		}
		if st.lock, err = os.Open(st.dir); err != nil {
			return err
		}
		return unix.Flock(int(st.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	})
	if err == nil {
		err = st.makeRoot()
	}
	if err != nil {
		st.discard()
		return nil, fmt.Errorf("prepare an image: %w", err)
	}
	return st, nil
}

func (st *stage) makeRoot() (err error) {
	rootfs := filepath.Join(st.dir, rootfsName)
	if err := os.Mkdir(rootfs, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(rootfs, 0o755); err != nil { // whatever the umask
		return err
	}
	st.root, err = os.OpenRoot(rootfs)
	return err
}

// discard removes what was built, unless it was committed.
func (st *stage) discard() {
	if st == nil {
		return
	}
	if st.root != nil {
		st.root.Close()
	}
	if st.dir != "" {
		os.RemoveAll(st.dir) // what stays is removed by the next call
	}
	if st.lock != nil {
		st.lock.Close()
	}
}

// clean removes what died in the making or in the removing. It runs under the
// lock; what cannot be removed now is tried again next time.
func (s *Store) clean() {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(s.dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), trashPrefix):
			os.RemoveAll(path)
		case strings.HasPrefix(e.Name(), stagePrefix):
			f, err := os.Open(path)
			if err != nil {
				continue
			}
			if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
				os.RemoveAll(path)
			}
			f.Close()
		}
	}
}

// commit writes the manifest, makes all of it durable, and puts the version in
// force. A version that is there already stays as it is.
func (s *Store) commit(st *stage, name string, m Manifest) error {
	v, err := versionOf(m.Digest)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	if err := os.WriteFile(filepath.Join(st.dir, manifestName), append(b, '\n'), 0o600); err != nil {
		return err
	}
	if err := s.handOver(st.dir, filepath.Join(st.dir, manifestName)); err != nil {
		return err
	}
	// One call for hundred thousand files; it also writes what others wait to
	// have written, which costs time and no more.
	if err := unix.Syncfs(int(st.lock.Fd())); err != nil {
		return fmt.Errorf("write the image to disk: %w", err)
	}
	return s.locked(func() error {
		dir := filepath.Join(s.dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := s.handOver(dir); err != nil {
			return err
		}
		place := filepath.Join(dir, v)
		if _, err := os.Lstat(place); err == nil { // damaged, or adopt would have taken it, or just made by another
			if _, err := readManifest(place); err == nil {
				return s.switchTo(name, v)
			}
			if err := s.trash(place); err != nil {
				return err
			}
		}
		if err := os.Rename(st.dir, place); err != nil {
			return err
		}
		st.dir = ""
		return s.switchTo(name, v)
	})
}

// switchTo puts a version in force, at once: who reads the link sees the old or
// the new one. It runs under the lock.
func (s *Store) switchTo(name, v string) error {
	dir := filepath.Join(s.dir, name)
	next := filepath.Join(dir, ".next")
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(v, next); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(dir, currentName)); err != nil {
		return err
	}
	return errors.Join(syncDir(dir), syncDir(s.dir))
}

// adopt puts a version in force that is there already.
func (s *Store) adopt(name, digest string) (ok bool, err error) {
	v, err := versionOf(digest)
	if err != nil {
		return false, err
	}
	err = s.locked(func() error {
		m, err := readManifest(filepath.Join(s.dir, name, v))
		if err != nil || m.Digest != digest {
			return nil
		}
		ok = true
		if cur, err := s.version(name); err == nil && cur == v {
			return nil
		}
		return s.switchTo(name, v)
	})
	return ok, err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Remove removes an image with all its versions. While a sandbox stands on one
// of them it is refused, with an error that wraps station.ErrConflict.
func (s *Store) Remove(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if mustMap() {
		return removeMapped(s, name)
	}
	return s.locked(func() error {
		all, err := s.versions(name)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			if _, err := os.Lstat(filepath.Join(s.dir, name)); err != nil {
				return notFound(name)
			}
		}
		var claims []*os.File
		for _, v := range all {
			claim, ok := s.claim(name, v)
			if ok {
				claims = append(claims, claim)
			}
			if !ok || s.inUse != nil && s.inUse(s.rootfs(name, v)) {
				closeAll(claims)
				return inUseError(name)
			}
		}
		return s.trash(filepath.Join(s.dir, name), claims...)
	})
}

func inUseError(name string) error {
	return station.Errorf(station.ErrConflict, "image_in_use", "Sessions run on image %s; put them to sleep or delete them first.", name)
}

// Sweep removes older versions that no sandbox stands on. Without an InUse it
// does nothing. Import and Pull sweep by themselves.
func (s *Store) Sweep() error {
	if s.inUse == nil {
		return nil
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	var dead []string
	for _, e := range entries {
		if !e.IsDir() || CheckName(e.Name()) != nil {
			continue
		}
		older, err := s.others(e.Name())
		if err != nil {
			return err
		}
		for _, v := range older {
			if !s.inUse(s.rootfs(e.Name(), v)) {
				dead = append(dead, e.Name()+"/"+v)
			}
		}
	}
	return s.removeVersions(dead)
}

// removeVersions removes NAME/VERSION, each unless it is in force or held.
func (s *Store) removeVersions(which []string) error {
	if len(which) == 0 {
		return nil
	}
	if mustMap() {
		return removeVersionsMapped(s, which)
	}
	return s.locked(func() error {
		for _, w := range which {
			name, v, _ := strings.Cut(w, "/")
			if CheckName(name) != nil || !versionPattern.MatchString(v) {
				return fmt.Errorf("%+q is no version of an image", w)
			}
			if cur, err := s.version(name); err == nil && cur == v || s.inUse != nil && s.inUse(s.rootfs(name, v)) {
				continue
			}
			if _, err := os.Lstat(filepath.Join(s.dir, name, v)); err != nil {
				continue // another sweep was here
			}
			claim, ok := s.claim(name, v)
			if !ok {
				continue
			}
			if err := s.trash(filepath.Join(s.dir, name, v), claim); err != nil {
				return err
			}
		}
		return nil
	})
}

// claim locks a version against Hold. It fails when somebody holds it.
func (s *Store) claim(name, v string) (*os.File, bool) {
	f, err := os.Open(filepath.Join(s.dir, name, v, manifestName))
	if err != nil {
		return nil, errors.Is(err, fs.ErrNotExist) // a damaged one is held by nobody
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		f.Close()
		return nil, false
	}
	return f, true
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close() // a nil file only says so
	}
}

// trash takes a folder out of its place at once, lets the claims on it go, then
// removes it: killed in between, it is half a folder that nobody uses.
func (s *Store) trash(path string, claims ...*os.File) error {
	tmp, err := os.MkdirTemp(s.dir, trashPrefix)
	if err == nil {
		if err = os.Rename(path, filepath.Join(tmp, filepath.Base(path))); err != nil {
			os.Remove(tmp)
		}
	}
	closeAll(claims)
	if err != nil {
		return fmt.Errorf("remove an image: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	return os.RemoveAll(tmp)
}
