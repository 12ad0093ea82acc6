package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"staithe/internal/config"
	"staithe/internal/files"
	"staithe/internal/files/watch"
	"staithe/internal/fleet"
	"staithe/internal/station"
	"staithe/internal/store"
	"staithe/internal/volume"
	"staithe/internal/volume/backup"
	"staithe/internal/volume/jail"
	"staithe/internal/volume/restic"
)

// openBackups makes the engine of snapshots. Where there can be none, the engine
// says why to all who ask, and so does the log.
func openBackups(ctx context.Context, cfg config.Config, data string, instance station.ID, copies *capture, f *fleet.Fleet, kinds []station.Class, volumes *volume.Volumes, w *watch.Watcher, log *slog.Logger) (*backup.Engine, error) {
	o := backup.Options{
		Data: data, Host: serverHost(instance), Bucket: bucket(cfg), Keep: policy(cfg), Log: log,
		Homes: func(ctx context.Context) ([]station.Workstation, error) { return homes(ctx, copies.store, volumes) },
		Home:  volumes.Path, Server: copies.prepare,
		Watch: watchFor(w), ForeignLocks: foreignLocks(f, kinds),
	}
	var err error
	if o.Program, o.Launcher, err = backupPrograms(ctx, cfg, data); err != nil {
		o.Off = sentenceOf(err)
		log.Warn("there are no backups", "why", err)
	}
	return backup.New(o)
}

// foreignLocks says of a workstation whether one of its sessions is in gVisor,
// whose kernel has the file locks of its programs to itself. One that sleeps may
// be frozen in the middle of a transaction.
func foreignLocks(f *fleet.Fleet, kinds []station.Class) func(context.Context, station.Workstation) bool {
	return func(ctx context.Context, ws station.Workstation) bool {
		list, err := f.List(ctx, ws.User)
		if err != nil {
			return true // more care than may be needed
		}
		for _, s := range list {
			at := slices.IndexFunc(kinds, func(c station.Class) bool { return c.Name == s.Class })
			if at < 0 || kinds[at].Runtime == "runsc" {
				return true
			}
		}
		return false
	}
}

// serverHost is what locks in repositories say of whose they are.
func serverHost(instance station.ID) string { return "staithe-" + string(instance) }

// backupPrograms finds what backups are made with; the error is why there can be
// none.
func backupPrograms(ctx context.Context, cfg config.Config, data string) (program, launcher string, err error) {
	if cfg.Backups == "off" {
		return "", "", station.Errorf(station.ErrUnavailable, "backups_off", "Backups are turned off by the setting backups = off.")
	}
	if program, _, err = restic.Find(ctx); err != nil {
		return "", "", err
	}
	if err := jail.Check(); err != nil {
		return "", "", err
	}
	launcher, err = installBackup(data)
	return program, launcher, err
}

func bucket(cfg config.Config) restic.Bucket {
	s := cfg.S3
	return restic.Bucket{Endpoint: s.Endpoint, Name: s.Bucket, Prefix: s.Prefix, AccessKey: s.AccessKey, SecretKey: s.SecretKey, Region: s.Region, PathStyle: s.PathStyle}
}

// keptAll is how long all snapshots are kept.
const keptAll = 2 * time.Hour

func policy(cfg config.Config) restic.Policy {
	k := cfg.BackupKeep
	return restic.Policy{Hourly: k.Hourly, Daily: k.Daily, Weekly: k.Weekly, Monthly: k.Monthly, Within: keptAll}
}

// homes are the workstations that have one. With an error there may be more.
func homes(ctx context.Context, s *store.Store, volumes *volume.Volumes) ([]station.Workstation, error) {
	all, err := s.AllWorkstations(ctx)
	if err != nil {
		return nil, err
	}
	var list []station.Workstation
	var errs []error
	for _, ws := range all {
		there, err := volumes.Exists(ws.Workstation)
		if err != nil {
			errs = append(errs, fmt.Errorf("workstation %q: %w", ws.Workstation.ID, err))
		}
		if there {
			list = append(list, ws.Workstation)
		}
	}
	return list, errors.Join(errs...)
}

// homeBackups is gateway.Backups.
type homeBackups struct {
	fleet  *fleet.Fleet
	engine *backup.Engine
}

func (h *homeBackups) State(ctx context.Context, user station.ID) (station.BackupState, error) {
	at, err := h.fleet.HomePlace(ctx, user)
	if err != nil {
		return station.BackupState{}, err
	}
	return h.engine.State(at.Workstation)
}

func (h *homeBackups) Snapshots(ctx context.Context, user station.ID) ([]station.Snapshot, error) {
	at, err := h.fleet.HomePlace(ctx, user)
	if err != nil {
		return nil, err
	}
	return h.engine.Snapshots(at.Workstation)
}

func (h *homeBackups) Now(ctx context.Context, user station.ID) error {
	at, err := h.fleet.HomePlace(ctx, user)
	if err != nil {
		return err
	}
	return h.engine.Now(at.Workstation, "asked")
}

func (h *homeBackups) Folder(ctx context.Context, user station.ID, snapshot string, path files.Path) ([]files.Entry, error) {
	at, err := h.fleet.HomePlace(ctx, user)
	if err != nil {
		return nil, err
	}
	nodes, err := h.engine.Folder(ctx, at.Workstation, snapshot, string(path))
	if err != nil {
		return nil, err
	}
	entries := make([]files.Entry, 0, len(nodes))
	for _, n := range nodes {
		e := files.Entry{Path: path.Join(n.Name), Name: files.Path(n.Name), Kind: kindOf(n.Type), MTime: n.MTime, Target: files.Text(n.LinkTarget)}
		if e.Kind == files.KindFile {
			e.Size = n.Size
		}
		e.Mode = permissionBits(fs.FileMode(n.Mode))
		entries = append(entries, e)
	}
	return entries, nil
}

// kindOf is a kind by restic's word for it.
func kindOf(word string) files.Kind {
	switch word {
	case "dir":
		return files.KindFolder
	case "file", "symlink", "fifo", "socket":
		return files.Kind(word)
	}
	return files.KindDevice
}

// permissionBits are the kernel's, 0 to 07777, of Go's.
func permissionBits(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	for _, b := range []struct {
		has fs.FileMode
		bit uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m&b.has != 0 {
			bits |= b.bit
		}
	}
	return bits
}

func (h *homeBackups) Content(ctx context.Context, user station.ID, snapshot string, path files.Path, w io.Writer) error {
	at, err := h.fleet.HomePlace(ctx, user)
	if err != nil {
		return err
	}
	return h.engine.Content(ctx, at.Workstation, snapshot, string(path), w)
}

func (h *homeBackups) Archive(ctx context.Context, user station.ID, snapshot string, path files.Path, format string, w io.Writer) error {
	at, err := h.fleet.HomePlace(ctx, user)
	if err != nil {
		return err
	}
	return h.engine.Archive(ctx, at.Workstation, snapshot, string(path), format, w)
}

func backupKeyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "backup-key",
		Short: "Print the key of the backups, to be kept elsewhere",
		Long: `Print the password of all backup repositories. Keep it elsewhere than this
machine: whoever has it and the repositories (the bucket) has every home and
the database; without it they are nothing to anybody.`,
		Args: cobra.NoArgs,
	}
	loader := configFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loader.Load(os.Getenv)
		if err != nil {
			return err
		}
		key, err := backup.Key(cfg.Data)
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), key)
		return nil
	}
	return c
}
