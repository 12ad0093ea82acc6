package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

const (
	rootfsName   = "rootfs"
	manifestName = "manifest.json"
	currentName  = "current"
	lockName     = ".lock"
	stagePrefix  = ".new-"
	trashPrefix  = ".old-"
)

// Store is the images of one data directory. It is safe for concurrent use, by
// several processes too: what they change is under a lock file.
type Store struct {
	dir    string
	limits Limits
	inUse  func(rootfs string) bool
	own    int // uid and gid of what is the store's own, inside the user namespace of mapped.go
}

// Options say how a Store behaves. The zero value will do.
type Options struct {
	// Limits bound what one image may take; zero fields have DefaultLimits'.
	Limits Limits
	// InUse says whether a sandbox stands on that root file system. Versions in
	// use are never removed. Nil: nothing is known, and every old version stays.
	InUse func(rootfs string) bool
}

// Config is what an image says about running it.
type Config struct {
	Env        []string `json:"env,omitempty"` // NAME=value
	User       string   `json:"user,omitempty"`
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	WorkingDir string   `json:"working_dir,omitempty"`
}

// Manifest is what is known of an unpacked version.
type Manifest struct {
	Source   string           `json:"source"` // the file, folder or reference it came from
	Digest   string           `json:"digest"` // sha256:HEX of the image's manifest or configuration, or of the plain tar
	Created  time.Time        `json:"created"`
	Platform string           `json:"platform"` // linux/amd64
	Config   Config           `json:"config"`
	Size     int64            `json:"size"`               // bytes of its files
	Files    int64            `json:"files"`              // files, folders and links
	LeftOut  map[string]int64 `json:"left_out,omitempty"` // what was not unpacked, by kind
}

// Image is one image and its version in force.
type Image struct {
	Name     string
	Version  string
	Rootfs   string // absolute path
	Older    int    // versions that are still there for sandboxes that run on them
	Same     bool   // of Import and Pull: this version was in force already
	Manifest Manifest
}

var versionPattern = regexp.MustCompile(`^[0-9a-f]{16}$`)

// Open opens the images below a data directory, making the folder. The folder
// is closed to all others (mode 0700): images may hold setuid programs, which
// nobody on the host is to reach.
func Open(data string, opts Options) (*Store, error) {
	dir, err := filepath.Abs(filepath.Join(data, "images"))
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	if err := os.MkdirAll(data, 0o711); err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("images: %w", err)
	}
	return &Store{dir: dir, limits: opts.Limits.orDefault(), inUse: opts.InUse}, nil
}

// CheckName says whether an image may be called so. The error wraps
// station.ErrInvalid.
func CheckName(name string) error {
	if name == station.BaseHost {
		return station.Errorf(station.ErrInvalid, "bad_name", "%q stands for the host's own /usr; choose another name for the image.", name)
	}
	return station.CheckName("image", name)
}

// Path returns the absolute path of an image's root file system as it is now. A
// later import leaves that path alone as long as InUse says so; Hold keeps it
// until then. The error wraps station.ErrNotFound when there is no such image.
func (s *Store) Path(name string) (string, error) {
	v, err := s.version(name)
	if err != nil {
		return "", err
	}
	return filepath.Join(s.dir, name, v, rootfsName), nil
}

// Hold is Path, and keeps the version from being removed until release is
// called or the process ends: for the time between choosing a base and the
// moment when InUse knows of it. Release may be called more than once.
func (s *Store) Hold(name string) (rootfs string, release func(), err error) {
	for range 10 { // the version may be replaced while we reach for it
		rootfs, err = s.Path(name)
		if err != nil {
			return "", nil, err
		}
		f, err := os.Open(filepath.Join(filepath.Dir(rootfs), manifestName))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", nil, fmt.Errorf("hold image %s: %w", name, err)
		}
		// This waits no longer than a rename takes (trash).
		if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
			f.Close()
			continue
		}
		if _, err := os.Lstat(rootfs); err != nil {
			f.Close()
			continue
		}
		return rootfs, func() { f.Close() }, nil
	}
	return "", nil, notFound(name)
}

// Get returns an image. The error wraps station.ErrNotFound when there is none.
func (s *Store) Get(name string) (Image, error) {
	for again := 9; ; again-- {
		img, err := s.get(name)
		// A version that was in force a moment ago may be gone: another is now.
		if again == 0 || !errors.Is(err, fs.ErrNotExist) || errors.Is(err, station.ErrNotFound) {
			return img, err
		}
	}
}

func (s *Store) get(name string) (Image, error) {
	v, err := s.version(name)
	if err != nil {
		return Image{}, err
	}
	img := Image{Name: name, Version: v, Rootfs: filepath.Join(s.dir, name, v, rootfsName)}
	if img.Manifest, err = readManifest(filepath.Join(s.dir, name, v)); err != nil {
		return Image{}, station.Errorf(station.ErrUnavailable, "image_damaged", "Image %s is damaged; import it again.", name).Because(err)
	}
	all, err := s.versions(name)
	if err != nil {
		return Image{}, err
	}
	img.Older = len(all) - 1
	return img, nil
}

// List returns all images, by name. A damaged one is left out and is part of
// the error, which leaves the others usable.
func (s *Store) List() ([]Image, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	var out []Image
	var bad []error
	for _, e := range entries {
		if !e.IsDir() || CheckName(e.Name()) != nil {
			continue
		}
		img, err := s.Get(e.Name())
		switch {
		case errors.Is(err, station.ErrNotFound): // old versions in use are all that is left
		case err != nil:
			bad = append(bad, err)
		default:
			out = append(out, img)
		}
	}
	return out, errors.Join(bad...)
}

// Check says whether an image can be the base of a session: a shell for this
// machine at /bin/sh, and /usr and /etc. Import and Pull check by themselves.
func (s *Store) Check(name string) error {
	rootfs, release, err := s.Hold(name)
	if err != nil {
		return err
	}
	defer release()
	root, err := os.OpenRoot(rootfs)
	if err != nil {
		return fmt.Errorf("check image %s: %w", name, err)
	}
	defer root.Close()
	return checkRoot(root)
}

func (s *Store) rootfs(name, version string) string {
	return filepath.Join(s.dir, name, version, rootfsName)
}

func notFound(name string) error {
	return station.Errorf(station.ErrNotFound, "no_image",
		"There is no image %s; make it with `staithe image import` or `staithe image pull`. `staithe image list` shows what there is.", name)
}

// version is the id of an image's version in force.
func (s *Store) version(name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	v, err := os.Readlink(filepath.Join(s.dir, name, currentName))
	if errors.Is(err, fs.ErrNotExist) {
		return "", notFound(name)
	}
	if err != nil {
		return "", fmt.Errorf("image %s: %w", name, err)
	}
	if !versionPattern.MatchString(v) {
		return "", station.Errorf(station.ErrUnavailable, "image_damaged", "Image %s is damaged (current points to %+q); import it again.", name, v)
	}
	return v, nil
}

// versions are the ids of all versions of an image that are there.
func (s *Store) versions(name string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && versionPattern.MatchString(e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

func readManifest(dir string) (Manifest, error) {
	var m Manifest
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%s: %w", manifestName, err)
	}
	return m, nil
}

// versionOf makes a version's id of a digest.
func versionOf(digest string) (string, error) {
	v := strings.TrimPrefix(digest, "sha256:")
	if len(v) != 64 || !versionPattern.MatchString(v[:16]) {
		return "", fmt.Errorf("%+q is no SHA-256 digest", digest)
	}
	return v[:16], nil
}

// others are an image's versions but the one in force, or all when none is.
func (s *Store) others(name string) ([]string, error) {
	all, err := s.versions(name)
	if err != nil {
		return nil, err
	}
	cur, err := s.version(name)
	if err != nil && !errors.Is(err, station.ErrNotFound) {
		return nil, err
	}
	return slices.DeleteFunc(all, func(v string) bool { return v == cur }), nil
}
