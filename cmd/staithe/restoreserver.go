package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"staithe/internal/config"
	"staithe/internal/restore"
	"staithe/internal/station"
	objects "staithe/internal/transfer/bucket"
	"staithe/internal/volume/jail"
	"staithe/internal/volume/restic"
)

// keyEnv has the backup key where no file has it.
const keyEnv = "STAITHE_BACKUP_KEY"

// restoreServer has a whole server back into the data directory.
func restoreServer(ctx context.Context, loader *config.Loader, q restoreFlags, out io.Writer) error {
	getenv, folder, err := placeOf(q.from)
	if err != nil {
		return err
	}
	cfg, err := loader.Load(getenv)
	if err != nil {
		return err
	}
	from := restore.Source{Folder: folder}
	if folder == "" {
		from.Bucket = bucket(cfg)
		from.Holds = func(ctx context.Context, under string) (bool, error) {
			s := cfg.S3
			return objects.Any(ctx, objects.Place{Endpoint: s.Endpoint, Bucket: s.Bucket, Prefix: path.Join(s.Prefix, under) + "/",
				AccessKey: s.AccessKey, SecretKey: s.SecretKey, Region: s.Region, PathStyle: s.PathStyle})
		}
	}
	if from.Key, err = backupKey(q.keyFile); err != nil {
		return err
	}
	if from.Program, _, err = restic.Find(ctx); err != nil {
		return err
	}
	if err := jail.Check(); err != nil {
		return err
	}
	// Before the lock makes anything in it.
	if err := restore.CheckEmpty(cfg.Data); err != nil {
		return err
	}
	data, err := openData(cfg.Data)
	if err != nil {
		return err
	}
	defer data.Close()
	launcher, remove, err := lentBackup()
	if err != nil {
		return err
	}
	defer remove()
	from.Launcher = launcher
	live := out == io.Writer(os.Stdout) && term.IsTerminal(int(os.Stdout.Fd()))
	whole := restore.Whole{Data: cfg.Data, From: from, Without: q.without,
		Say: func(format string, args ...any) {
			if live {
				fmt.Fprint(out, "\r\x1b[K")
			}
			fmt.Fprintf(out, format+"\n", args...)
		},
		Tell: func(user string, bytes, files int64) {
			if live {
				fmt.Fprintf(out, "\r\x1b[K%s: %s, %d files", user, sizeText(bytes), files)
			}
		},
	}
	if idText.MatchString(q.snapshot) {
		whole.Snapshot = q.snapshot
	} else if q.snapshot != "latest" {
		return station.Errorf(station.ErrInvalid, "bad_moment", "With --from, --snapshot is latest or the id of a snapshot of the server's repository.")
	}
	if err := whole.Restore(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "Start it: staithe serve --data %s\n", cfg.Data)
	return nil
}

// placeOf reads --from: a bucket, which takes the place of the environment's, or
// a folder.
func placeOf(from string) (getenv func(string) string, folder string, err error) {
	rest, ok := strings.CutPrefix(from, "s3://")
	if !ok {
		if strings.Contains(from, "://") {
			return nil, "", badPlace()
		}
		folder, err = filepath.Abs(from)
		if err != nil {
			return nil, "", fmt.Errorf("find the folder: %w", err)
		}
		return func(name string) string { // a folder needs no store
			if strings.HasPrefix(name, "S3_") {
				return ""
			}
			return os.Getenv(name)
		}, folder, nil
	}
	name, prefix, _ := strings.Cut(rest, "/")
	if name == "" || strings.Contains(name, "@") {
		return nil, "", badPlace()
	}
	return func(key string) string {
		switch key {
		case "S3_BUCKET":
			return name
		case "S3_PREFIX":
			return strings.Trim(prefix, "/")
		}
		return os.Getenv(key)
	}, "", nil
}

func badPlace() error {
	return station.Errorf(station.ErrInvalid, "bad_place",
		"Say --from s3://BUCKET/PREFIX, with the store in S3_ENDPOINT and its credentials in S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, or --from /FOLDER.")
}

// backupKey is never taken from the command line, where others could read it.
func backupKey(file string) (string, error) {
	key := os.Getenv(keyEnv)
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", station.Errorf(station.ErrInvalid, "no_key", "The backup key cannot be read from %s.", file).Because(err)
		}
		key = string(b)
	}
	if key = strings.TrimSpace(key); key == "" {
		return "", station.Errorf(station.ErrInvalid, "no_key",
			"The backups are encrypted: give the old server's backup.key with --key-file FILE, or in %s.", keyEnv)
	}
	return key, nil
}

// lentBackup writes the program that starts restic in jails to a folder of its
// own: the data directory has to stay empty but for what is restored.
func lentBackup() (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "staithe-restore-*")
	if err != nil {
		return "", nil, fmt.Errorf("make a folder: %w", err)
	}
	remove = func() { _ = os.RemoveAll(dir) } // in the temporary folder, it harms nobody
	if path, err = installBackup(dir); err != nil {
		remove()
		return "", nil, err
	}
	return path, remove, nil
}

// checkWhole refuses a data directory that is not wholly restored.
func checkWhole(data string) error {
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return restore.CheckWhole(data)
}
