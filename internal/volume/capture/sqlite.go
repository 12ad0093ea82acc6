package capture

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// patience is how long a database that is locked is waited for, and pause between two
// looks: SQLite's own waiting looks every tenth of a second, and a program that writes
// all the time leaves gaps that are shorter.
const (
	patience = 3 * time.Second
	pause    = time.Millisecond
)

// grace is how long after the time is over a copy may take to end. One that does
// not, as SQLite opened something that has it wait, is left behind.
const grace = 2 * time.Second

// copyDatabase makes a copy, or says in words why there is none.
func (c *capture) copyDatabase(ctx context.Context, at, name string, st unix.Stat_t, wal bool) error {
	done := make(chan error, 1)
	go func() { done <- c.copyNow(ctx, at, name, st, wal) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		return errors.New("it could not be opened in time")
	}
}

// Why a database is copied as a file, and not by SQLite.
var (
	errForeign = errors.New("its locks cannot be seen from outside of its sandbox")
	errHoles   = errors.New("it has holes, which would be filled")
	errStill   = errors.New("it stands still")
)

// stillFor is how long a database with a log is not written to that stands still.
const stillFor = 2 * time.Second

// holesFrom is how large a database is of which holes are kept.
const holesFrom = 8 << 20

// asFile says why a database is to be copied as a file, or nil.
func (c *capture) asFile(at string, st unix.Stat_t, wal bool) error {
	log, err := stat(at + "-wal")
	switch {
	case c.r.Foreign:
		return errForeign
	case st.Size >= holesFrom && st.Blocks*512 < st.Size/4*3:
		return errHoles
	case wal && (err != nil || time.Since(time.Unix(0, max(log.Mtim.Nano(), st.Mtim.Nano()))) >= stillFor):
		return errStill
	}
	return nil
}

func (c *capture) copyNow(ctx context.Context, at, name string, st unix.Stat_t, wal bool) error {
	to := filepath.Join(c.copies, name)
	tmp := to + ".new"
	clean := func() { // what is left of one that failed
		for _, end := range append([]string{""}, sides...) {
			_ = os.Remove(tmp + end)
		}
	}
	defer clean()
	why := c.asFile(at, st, wal)
	if why == nil {
		if why = backup(ctx, at, tmp); why != nil {
			clean()
		}
	}
	if why != nil {
		err := stable(ctx, at, tmp)
		if err != nil && errors.Is(why, errStill) { // no longer
			clean()
			err = backup(ctx, at, tmp)
		}
		if errors.Is(err, errInUse) {
			return err
		} else if err != nil {
			return fmt.Errorf("it could not be copied while it is in use (%v; %w)", why, err)
		}
	}
	if err := dress(at, tmp, st); err != nil {
		return fmt.Errorf("its copy could not be made alike: %w", err)
	}
	if err := os.Rename(tmp, to); err != nil {
		return fmt.Errorf("its copy could not be kept: %w", err)
	}
	return nil
}

// backup copies by SQLite, in one step: writers wait for it, or go on beside it
// where they write to a log.
func backup(ctx context.Context, at, to string) error {
	db, err := sql.Open("sqlite", uri(at, "mode=ro", "_pragma=busy_timeout(0)"))
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return short(err)
	}
	defer conn.Close()
	return conn.Raw(func(driver any) error {
		source, ok := driver.(interface {
			NewBackup(string) (*sqlite.Backup, error)
		})
		if !ok {
			return errors.New("the driver makes no backups")
		}
		b, err := source.NewBackup(uri(to, "_pragma=journal_mode(off)", "_pragma=synchronous(off)"))
		if err != nil {
			return short(err)
		}
		end := time.Now().Add(patience)
		for more := true; more && err == nil; {
			if err = ctx.Err(); err != nil {
				break
			}
			if more, err = b.Step(-1); isBusy(err) && time.Now().Before(end) {
				more, err = true, nil
				time.Sleep(pause)
			}
		}
		return short(errors.Join(err, b.Finish()))
	})
}

// isBusy says whether somebody else has the database locked.
func isBusy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code()&0xFF == sqlite3.SQLITE_BUSY || e.Code()&0xFF == sqlite3.SQLITE_LOCKED)
}

// short is an error in a line.
func short(err error) error {
	if err == nil {
		return nil
	}
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	return errors.New(text[:min(len(text), 200)])
}

func uri(file string, options ...string) string {
	var b strings.Builder
	b.WriteString("file:")
	for _, ch := range []byte(file) {
		if ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z' || ch >= '0' && ch <= '9' || strings.IndexByte("/._-", ch) >= 0 {
			b.WriteByte(ch)
		} else {
			fmt.Fprintf(&b, "%%%02X", ch)
		}
	}
	return b.String() + "?" + strings.Join(options, "&")
}

const stableTries = 5

// errInUse is one of which no moment could be had.
var errInUse = errors.New("it was written to all the time and could not be locked")

// stable copies database and log as they are until they were not changed
// meanwhile, and has SQLite recover the copy.
func stable(ctx context.Context, at, to string) error {
	var err error
	for try := range stableTries {
		sure := !lately(at)
		before := fingerprint(at)
		err = nil
		for _, end := range []string{"-journal", "-wal", ""} {
			_ = os.Remove(to + end)
			if cerr := copyFile(at+end, to+end); cerr != nil && (end == "" || !errors.Is(cerr, os.ErrNotExist)) {
				err = errors.Join(err, cerr)
			}
		}
		if err == nil && sure && fingerprint(at) == before {
			return recovered(ctx, to)
		}
		select {
		case <-ctx.Done():
			return errors.New("there was no time left")
		case <-time.After(time.Duration(try+1) * 20 * time.Millisecond):
		}
	}
	if err != nil {
		return short(err)
	}
	return errInUse
}

// coarse is how far apart two changes may be that have the same time.
const coarse = 20 * time.Millisecond

// lately says whether a database was changed so lately that another change need not
// be seen.
func lately(at string) bool {
	for _, end := range []string{"", "-wal", "-journal"} {
		if st, err := stat(at + end); err == nil && time.Since(time.Unix(0, st.Mtim.Nano())).Abs() < coarse {
			return true
		}
	}
	return false
}

// recovered makes one file of a copy and its log.
func recovered(ctx context.Context, at string) error {
	db, err := sql.Open("sqlite", uri(at, "_pragma=synchronous(off)"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	var answer string
	err = db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&answer)
	if err == nil && answer != "ok" {
		err = errors.New("its copy is damaged")
	}
	if err == nil {
		_, err = db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	}
	return short(errors.Join(err, db.Close()))
}

func copyFile(from, to string) error {
	in, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(copyData(out, in), out.Close())
}

// copyData copies, with the holes.
func copyData(out, in *os.File) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	for at, size := int64(0), info.Size(); at < size; {
		data, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		hole := size
		if errors.Is(err, unix.EINVAL) { // a file system that knows none
			data, err = at, nil
		} else if err == nil {
			hole, err = unix.Seek(int(in.Fd()), data, unix.SEEK_HOLE)
		}
		if err != nil {
			return err
		}
		if _, err := out.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if _, err := in.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if n, err := io.CopyN(out, in, hole-data); err != nil {
			return fmt.Errorf("after %d bytes: %w", n, err)
		}
		at = hole
	}
	return out.Truncate(info.Size())
}

// dress gives a copy its original's mode, time and attributes.
func dress(at, copied string, st unix.Stat_t) error {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(at, list)
	if err == nil {
		value := make([]byte, 64<<10)
		for name := range strings.SplitSeq(string(list[:n]), "\x00") {
			if !strings.HasPrefix(name, "user.") {
				continue
			}
			if m, err := unix.Lgetxattr(at, name, value); err == nil {
				if err := unix.Lsetxattr(copied, name, value[:m], 0); err != nil {
					return err
				}
			}
		}
	}
	if err := os.Chmod(copied, os.FileMode(st.Mode&0o777)); err != nil {
		return err
	}
	when := time.Unix(0, st.Mtim.Nano())
	if log, err := stat(at + "-wal"); err == nil && log.Mtim.Nano() > st.Mtim.Nano() {
		when = time.Unix(0, log.Mtim.Nano())
	}
	return os.Chtimes(copied, when, when)
}
