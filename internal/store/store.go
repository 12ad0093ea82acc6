package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite", in Go: no C compiler, no shared library

	"staithe/internal/station"
)

//go:embed migrations/*.sql
var migrations embed.FS

// fileName is the database's file in the data directory.
const fileName = "staithe.db"

// readers is how many connections read at once; WAL lets them run beside the writer.
const readers = 4

// Store holds the open database. Safe for concurrent use.
type Store struct {
	write *sql.DB // exactly one connection, every transaction IMMEDIATE
	read  *sql.DB // query_only
}

// Open opens the database in dir, makes both when they are not there, and
// brings the schema up to date. The errors are sentences for the person who
// starts the server.
func Open(ctx context.Context, dir string) (*Store, error) {
	if err := prepareDir(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, fileName)
	if err := protect(path); err != nil {
		return nil, err
	}
	write, err := connect(path, 1, "_txlock=immediate", "_pragma=synchronous(FULL)", "_pragma=journal_mode(WAL)")
	if err != nil {
		return nil, translate("open the database", err)
	}
	s := &Store{write: write}
	if err := migrate(ctx, write, path); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.read, err = connect(path, readers, "_pragma=query_only(1)"); err != nil {
		return nil, errors.Join(translate("open the database", err), s.Close())
	}
	return s, nil
}

// Close ends all connections; the WAL is folded into the file.
func (s *Store) Close() error {
	var errs []error
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	return errors.Join(append(errs, s.write.Close())...)
}

// Ready says whether the database can be read and written right now.
func (s *Store) Ready(ctx context.Context) error {
	tx, err := s.write.BeginTx(ctx, nil) // IMMEDIATE: takes the write lock
	if err != nil {
		return translate("reach the database", err)
	}
	defer tx.Rollback()
	var n int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM users`).Scan(&n); err != nil {
		return translate("read the database", err)
	}
	return nil
}

// prepareDir makes the data directory and tries whether it can be written to:
// SQLite's own words for that ("unable to open database file") help nobody.
func prepareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return unusableDir(dir, err)
	}
	probe, err := os.CreateTemp(dir, ".write-test-*")
	if err != nil {
		return unusableDir(dir, err)
	}
	_, werr := probe.Write([]byte("x"))
	if err := errors.Join(werr, probe.Close(), os.Remove(probe.Name())); err != nil {
		return unusableDir(dir, err)
	}
	return nil
}

// protect makes the database's file this user's alone before SQLite opens it:
// the WAL and its index are made with the file's mode, and other users of the
// host have no business with password hashes. Those of an earlier process that
// was killed keep theirs, so they are closed as well.
func protect(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return unusableDir(filepath.Dir(path), err)
	}
	if err := f.Close(); err != nil {
		return unusableDir(filepath.Dir(path), err)
	}
	for _, p := range []string{path, path + "-wal", path + "-shm"} {
		if err := os.Chmod(p, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unusableDir(filepath.Dir(path), err)
		}
	}
	return nil
}

func connect(path string, connections int, params ...string) (*sql.DB, error) {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)"
	for _, p := range params {
		dsn += "&" + p
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	if err := db.Ping(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func migrate(ctx context.Context, db *sql.DB, path string) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("open migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return translate("read the database's version", err)
	}
	have, err := p.GetDBVersion(ctx)
	if err != nil {
		return translate("read the database's version", err)
	}
	sources := p.ListSources()
	if newest := sources[len(sources)-1].Version; have > newest {
		return station.Errorf(station.ErrUnavailable, "database_newer",
			"The database %s was written by a newer staithe (schema %d, this one knows %d). Start that version, or give --data another directory.",
			path, have, newest)
	}
	if have > 0 && have < sources[len(sources)-1].Version {
		if err := keepBefore(ctx, db, path, have); err != nil {
			return err
		}
	}
	if _, err := p.Up(ctx); err != nil {
		return translate("bring the database up to date", err)
	}
	return nil
}

// tx runs fn in one write transaction; an error from fn rolls it back.
func (s *Store) tx(ctx context.Context, what string, fn func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return translate(what, err)
	}
	defer tx.Rollback() // does nothing after Commit
	if err := fn(tx); err != nil {
		return translate(what, err)
	}
	return translate(what, tx.Commit())
}

// exec runs one write and reports how many rows it changed.
func (s *Store) exec(ctx context.Context, what, query string, args ...any) (int64, error) {
	res, err := s.write.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, translate(what, err)
	}
	n, err := res.RowsAffected()
	return n, translate(what, err)
}

// execOne is exec for a row that must be there.
func (s *Store) execOne(ctx context.Context, what string, missing error, query string, args ...any) error {
	n, err := s.exec(ctx, what, query, args...)
	if err == nil && n == 0 {
		return missing
	}
	return err
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func microsOrNull(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UnixMicro()
}

// zeroMicros keeps the zero time as 0.
func zeroMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromZeroMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return fromMicros(n)
}

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

func fromNullMicros(n sql.NullInt64) *time.Time {
	if !n.Valid {
		return nil
	}
	t := fromMicros(n.Int64)
	return &t
}
