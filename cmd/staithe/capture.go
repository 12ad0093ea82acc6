package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"staithe/internal/image"
	"staithe/internal/restore"
	"staithe/internal/store"
)

// captureEvery is between two looks at whether there is something new.
const captureEvery = 20 * time.Second

// capture keeps a copy of what the server itself must not lose, for a snapshot:
// the database, the identity key, and a manifest. The backup key is not in it.
type capture struct {
	data   string
	store  *store.Store
	images *image.Store
	log    *slog.Logger

	mu  sync.Mutex // while the folder is written or read
	had string     // the fingerprint of what is in the folder
}

func (c *capture) folder() string { return filepath.Join(c.data, "server-copy") }

// watch says when something is new, until ctx ends.
func (c *capture) watch(ctx context.Context, changed func()) {
	told, failing := "", false
	for {
		now, err := c.fingerprint(ctx)
		if err == nil && now != told {
			told = now
			changed()
		}
		if err != nil && !failing && ctx.Err() == nil {
			c.log.Error("whether the database changed is not known, so it may not be backed up", "err", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(captureEvery):
		}
	}
}

// fingerprint is one text for one content of the folder.
func (c *capture) fingerprint(ctx context.Context) (string, error) {
	db, err := c.store.Fingerprint(ctx)
	if err != nil {
		return "", err
	}
	images, err := c.imported()
	return db + fmt.Sprint(images), err
}

func (c *capture) imported() (out []restore.Imported, err error) {
	list, err := c.images.List()
	for _, i := range list {
		out = append(out, restore.Imported{Name: i.Name, Source: i.Manifest.Source})
	}
	if err != nil {
		return nil, fmt.Errorf("list the images: %w", err)
	}
	return out, nil
}

// prepare brings the folder up to date and holds it so until done.
func (c *capture) prepare(ctx context.Context) (folder string, done func(), err error) {
	c.mu.Lock()
	defer func() {
		if err != nil {
			c.mu.Unlock()
		}
	}()
	now, err := c.fingerprint(ctx)
	if err != nil {
		return "", nil, err
	}
	if now != c.had {
		if err := c.write(ctx); err != nil {
			return "", nil, err
		}
		c.had = now
	}
	return c.folder(), sync.OnceFunc(c.mu.Unlock), nil
}

func (c *capture) write(ctx context.Context) error {
	dir := c.folder()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return diskError("copy what the server is", err)
	}
	if err := c.store.Copy(ctx, filepath.Join(dir, restore.DatabaseName)); err != nil {
		return err
	}
	if err := copyWhole(filepath.Join(c.data, "identity.key"), filepath.Join(dir, restore.IdentityName)); err != nil {
		return err
	}
	before, err := store.BeforeMigration(c.data)
	if err == nil && before != "" {
		err = copyWhole(before, filepath.Join(dir, restore.BeforeName))
	}
	if err != nil {
		return err
	}
	all, err := c.store.AllWorkstations(ctx)
	if err != nil {
		return err
	}
	images, err := c.imported()
	if err != nil {
		return err
	}
	m := restore.Manifest{At: time.Now().UTC(), Version: version, Images: images, Workstations: []restore.Of{}}
	for _, w := range all {
		m.Workstations = append(m.Workstations, restore.Of{ID: w.ID, User: w.Name, UIDRange: w.UIDRange})
	}
	return restore.WriteManifest(dir, m)
}

func copyWhole(from, to string) error {
	b, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = writeWhole(to, b)
	}
	if err != nil {
		return diskError("copy "+strings.TrimSuffix(filepath.Base(from), filepath.Ext(from)), err)
	}
	return nil
}
