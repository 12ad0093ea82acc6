package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

// KeyFile is where in the data directory the repositories' password is.
const KeyFile = "backup.key"

// Key is the password of all repositories, which is made the first time. Whoever
// has it and the repositories has all homes: without it they are nothing.
func Key(data string) (string, error) {
	file := filepath.Join(data, KeyFile)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key := restic.NewKey()
		if err := writeWhole(file, []byte(key+"\n")); err != nil {
			return "", fmt.Errorf("make the backup key: %w", err)
		}
		return key, nil
	}
	if err != nil {
		return "", fmt.Errorf("read the backup key: %w", err)
	}
	key := strings.TrimSpace(string(b))
	if key == "" {
		return "", station.Errorf(station.ErrInvalid, "bad_backup_key", "%s is empty; put the backup key back into it, or, if there are no backups, remove it.", file)
	}
	return key, nil
}

// writeWhole writes a private file so that it is whole or not there.
func writeWhole(file string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// RepoOptions says where the repository of a workstation, or "server", is.
type RepoOptions struct {
	Data, Host, Program, Launcher, Key string
	Bucket                             restic.Bucket
}

// Repo makes the folders that a repository needs on this host and opens it.
func Repo(o RepoOptions, id station.ID) (*restic.Repo, error) {
	work := filepath.Join(o.Data, workDir, string(id))
	r := restic.Options{Program: o.Program, Launcher: o.Launcher, Key: o.Key, Host: o.Host, Bucket: o.Bucket,
		Cache: filepath.Join(work, "cache"), Lock: filepath.Join(work, "lock"), Hint: filepath.Join(work, "key-hint")}
	if o.Bucket.Name != "" {
		r.Fresh = filepath.Join(work, "verify-cache")
		r.Path = "server"
		if id != serverID {
			r.Path = path.Join("workstations", string(id))
		}
	} else {
		r.Path = filepath.Join(o.Data, reposDir, string(id))
		r.Place = ownDisk
	}
	if err := o.folders(id); err != nil {
		return nil, err
	}
	return restic.Open(r)
}

// folders makes the folders that a repository needs on this host.
func (o RepoOptions) folders(id station.ID) error {
	folders := []string{filepath.Join(o.Data, workDir, string(id), "cache")}
	if o.Bucket.Name == "" {
		folders = append(folders, filepath.Join(o.Data, reposDir, string(id)))
	} else {
		folders = append(folders, filepath.Join(o.Data, workDir, string(id), "verify-cache"))
	}
	for _, d := range folders {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("make the folders of a repository: %w", err)
		}
	}
	return nil
}

// sweep removes what restics that were killed left in the cache's folder.
func sweep(cache string) error {
	var errs []error
	for _, pattern := range []string{"restic-temp-*", "restic-check-cache-*"} {
		left, err := filepath.Glob(filepath.Join(cache, pattern))
		errs = append(errs, err)
		for _, l := range left {
			errs = append(errs, os.RemoveAll(l))
		}
	}
	return errors.Join(errs...)
}
