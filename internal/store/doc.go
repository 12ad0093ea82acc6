// Package store is all of staithe's SQL: one SQLite file in the data directory,
// opened in WAL mode with synchronous=FULL, so that what was acknowledged is
// there after a power cut.
//
// One connection writes and a few read; a Store is safe for concurrent use.
// Every error is a station.Problem or wraps one of station's sentinels:
// ErrNotFound where nothing is there, ErrConflict where a name is taken,
// ErrNoSpace where the disk is full, ErrUnavailable where the file cannot be used.
//
// Secrets (login cookies, API tokens, tickets, links, device cookies) come in
// as SHA-256 of 32 random bytes and are never seen here in the clear.
package store
