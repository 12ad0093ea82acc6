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

// embedded holds staithe-guest, put there by `make build`, and a dotfile that
// keeps the folder.
//
//go:embed all:embedded
var embedded embed.FS

// installGuest writes the embedded guest to the data directory, where sandboxes
// mount it from, and returns its path. Sandboxes that run keep the version they
// started with: each has a folder of its own.
func installGuest(data string) (string, error) {
	b, err := embedded.ReadFile("embedded/staithe-guest")
	if errors.Is(err, fs.ErrNotExist) {
		return "", station.Errorf(station.ErrUnavailable, "no_guest", "This staithe was built without its guest; build it with `make build`.")
	}
	if err != nil {
		return "", fmt.Errorf("read the embedded guest: %w", err)
	}
	sum := sha256.Sum256(b)
	dir := filepath.Join(data, "guest", hex.EncodeToString(sum[:8]))
	path := filepath.Join(dir, "staithe-guest")
	if have, err := os.ReadFile(path); err == nil && sha256.Sum256(have) == sum {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", diskError("make the guest's folder", err)
	}
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return "", diskError("write the guest", err)
	}
	defer os.Remove(tmp.Name()) // gone after the rename
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Chmod(0o555), tmp.Sync(), tmp.Close()); err != nil {
		return "", diskError("write the guest", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return "", diskError("write the guest", err)
	}
	return path, nil
}
