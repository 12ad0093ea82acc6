package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"staithe/internal/station"
)

// LinkKind says what a single-use link is for.
type LinkKind = string

// The kinds of link.
const (
	LinkSetup  LinkKind = "setup"  // makes the first admin
	LinkInvite LinkKind = "invite" // sets a new user's password
	LinkReset  LinkKind = "reset"  // sets a forgotten password anew
)

// CreateLink stores a single-use link in the place of every earlier one of the
// same kind and user. An empty user is for setup; a nil expiry never comes.
func (s *Store) CreateLink(ctx context.Context, kind LinkKind, hash [32]byte, user station.ID, expires *time.Time) error {
	return s.tx(ctx, "store the link", func(tx *sql.Tx) error { return insertLink(ctx, tx, kind, hash, user, expires) })
}

func insertLink(ctx context.Context, tx *sql.Tx, kind LinkKind, hash [32]byte, user station.ID, expires *time.Time) error {
	owner := sql.NullString{String: string(user), Valid: user != ""}
	if _, err := tx.ExecContext(ctx, `DELETE FROM links WHERE kind = ? AND user_id IS ?`, kind, owner); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO links (hash, kind, user_id, expires_at) VALUES (?, ?, ?, ?)`,
		hash[:], kind, owner, microsOrNull(expires))
	return err
}

// LinkGood says whether a link of one of the kinds could be spent now; it
// spends nothing. ErrGone when not.
func (s *Store) LinkGood(ctx context.Context, hash [32]byte, now time.Time, kinds ...LinkKind) error {
	var kind LinkKind
	err := s.read.QueryRowContext(ctx, `SELECT kind FROM links WHERE hash = ? AND used_at IS NULL
		AND (expires_at IS NULL OR expires_at > ?)`, hash[:], micros(now)).Scan(&kind)
	if err := translate("find the link", err); err != nil {
		if errors.Is(err, station.ErrNotFound) {
			return station.ErrGone
		}
		return err
	}
	for _, k := range kinds {
		if k == kind {
			return nil
		}
	}
	return station.ErrGone
}

// SpendPasswordLink spends an invite or reset link, sets its user's password
// and ends the user's logins, all or nothing. ErrGone when the link is not good.
func (s *Store) SpendPasswordLink(ctx context.Context, hash [32]byte, now time.Time, passwordHash string) (u station.User, kind LinkKind, err error) {
	err = s.tx(ctx, "spend the link", func(tx *sql.Tx) error {
		var user station.ID
		err := tx.QueryRowContext(ctx, `UPDATE links SET used_at = ? WHERE hash = ? AND kind IN ('invite', 'reset')
			AND used_at IS NULL AND expires_at > ? RETURNING user_id, kind`, micros(now), hash[:], micros(now)).Scan(&user, &kind)
		if errors.Is(err, sql.ErrNoRows) {
			return station.ErrGone
		}
		if err != nil {
			return err
		}
		if err := setPassword(ctx, tx, user, passwordHash, ""); err != nil {
			return err
		}
		u, err = scanUser(tx.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users WHERE id = ?`, user))
		if err == nil && u.Disabled {
			return station.ErrGone
		}
		return err
	})
	return u, kind, err
}
