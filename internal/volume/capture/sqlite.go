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
)

// busyMillis is how long a database that is locked is waited for.
const busyMillis = 3000

// copyDatabase makes a copy, or says in words why there is none.
func (c *capture) copyDatabase(ctx context.Context, at, name string, st unix.Stat_t) error {
	to := filepath.Join(c.copies, name)
	tmp := to + ".new"
	defer func() { // what is left of one that failed
		for _, end := range append([]string{""}, sides...) {
			_ = os.Remove(tmp + end)
		}
	}()
	why := errors.New("its locks cannot be seen from outside of its sandbox")
	if !c.r.Foreign {
		why = backup(ctx, at, tmp)
	}
	if why != nil {
		if err := stable(ctx, at, tmp); errors.Is(err, errInUse) {
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
	db, err := sql.Open("sqlite", uri(at, "mode=ro", fmt.Sprintf("_pragma=busy_timeout(%d)", busyMillis)))
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
		for more := true; more && err == nil; {
			if err = ctx.Err(); err == nil {
				more, err = b.Step(-1)
			}
		}
		return short(errors.Join(err, b.Finish()))
	})
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
	for try := range stableTries {
		before := fingerprint(at)
		var err error
		for _, end := range []string{"-journal", "-wal", ""} {
			_ = os.Remove(to + end)
			if cerr := copyFile(at+end, to+end); cerr != nil && (end == "" || !errors.Is(cerr, os.ErrNotExist)) {
				err = errors.Join(err, cerr)
			}
		}
		if err == nil && fingerprint(at) == before {
			return recovered(ctx, to)
		}
		select {
		case <-ctx.Done():
			return errors.New("there was no time left")
		case <-time.After(time.Duration(try+1) * 20 * time.Millisecond):
		}
	}
	return errInUse
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
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
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
