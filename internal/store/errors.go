package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"staithe/internal/station"
)

// translate turns what the driver says into a sentence; what says what was
// attempted. Problems and nil pass unchanged.
func translate(what string, err error) error {
	var problem *station.Problem
	if err == nil || errors.As(err, &problem) {
		return err
	}
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s: %w", what, station.ErrNotFound)
	}
	if errors.Is(err, syscall.ENOSPC) {
		return full(err)
	}
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return fmt.Errorf("%s: %w", what, err)
	}
	switch se.Code() & 0xff { // the low byte is the primary code
	case sqlite3.SQLITE_CONSTRAINT:
		return fmt.Errorf("%s: %w: %w", what, station.ErrConflict, err)
	case sqlite3.SQLITE_FULL:
		return full(err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return station.Errorf(station.ErrUnavailable, "database_unwritable",
			"The database cannot be written; check who owns the data directory and whether its disk is mounted read-only.").Because(err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return station.Errorf(station.ErrUnavailable, "database_damaged",
			"The database is damaged; stop staithe and restore %s from a backup.", fileName).Because(err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return station.Errorf(station.ErrUnavailable, "database_busy",
			"Another process keeps the database locked; end it and try again.").Because(err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func full(err error) error {
	return station.Errorf(station.ErrNoSpace, "disk_full",
		"The disk with the data directory is full; free some space and try again.").Because(err)
}

func unusableDir(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return full(err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return station.Errorf(station.ErrUnavailable, "data_unwritable",
			"The data directory %s cannot be written to; change its owner or give --data another directory.", dir).Because(err)
	}
	return station.Errorf(station.ErrUnavailable, "data_unusable",
		"The data directory %s cannot be used; give --data a directory that this user may write to.", dir).Because(err)
}

func missing(code, sentence string) error {
	return station.Errorf(station.ErrNotFound, code, "%s", sentence)
}

var (
	errNoUser    = missing("no_user", "There is no such user; see the list of users for the right name.")
	errNoSession = missing("no_session", "There is no such session; see the list of sessions for the right name.")
	errNoToken   = missing("no_token", "There is no such token; see the list of tokens for the right id.")
)

// taken names what a UNIQUE constraint refused.
func taken(err error, kind, name string) error {
	if !errors.Is(err, station.ErrConflict) {
		return err
	}
	return station.Errorf(station.ErrConflict, "name_taken",
		"There is already a %s named %s; take another name.", kind, name).Because(err)
}

// orMissing gives "no rows" the sentence of what is missing.
func orMissing(err, missing error) error {
	if errors.Is(err, station.ErrNotFound) {
		return missing
	}
	return err
}
