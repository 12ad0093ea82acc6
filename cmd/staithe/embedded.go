package main

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"staithe/internal/station"
)

// embedded holds staithe-guest, staithe-egress, staithe-files and staithe-backup, put there by
// `make build`, and a dotfile that keeps the folder.
//
//go:embed all:embedded
var embedded embed.FS

// installGuest writes the embedded guest to the data directory, where sandboxes
// mount it from, and returns its path.
func installGuest(data string) (string, error) {
	return installEmbedded(data, "guest", "staithe-guest")
}

// installEgress does so with the program that is a session's way out.
func installEgress(data string) (string, error) {
	return installEmbedded(data, "egress-program", "staithe-egress")
}

// installFiles does so with the program that opens a user's files.
func installFiles(data string) (string, error) {
	return installEmbedded(data, "files-program", "staithe-files")
}

// installBackup does so with the program that makes jails.
func installBackup(data string) (string, error) {
	return installEmbedded(data, "backup-program", "staithe-backup")
}

// installEmbedded writes an embedded program to a folder of the data directory.
// Sandboxes that run keep the version they started with: each has a folder of
// its own.
func installEmbedded(data, folder, name string) (string, error) {
	b, err := embedded.ReadFile("embedded/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", station.Errorf(station.ErrUnavailable, "not_built", "This staithe was built without %s; build it with `make build`.", name)
	}
	if err != nil {
		return "", fmt.Errorf("read the embedded %s: %w", name, err)
	}
	sum := sha256.Sum256(b)
	dir := filepath.Join(data, folder, hex.EncodeToString(sum[:8]))
	path := filepath.Join(dir, name)
	if have, err := os.ReadFile(path); err == nil && sha256.Sum256(have) == sum {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", diskError("make the folder of "+name, err)
	}
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return "", diskError("write "+name, err)
	}
	defer os.Remove(tmp.Name()) // gone after the rename
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Chmod(0o555), tmp.Sync(), tmp.Close()); err != nil {
		return "", diskError("write "+name, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return "", diskError("write "+name, err)
	}
	return path, nil
}
