package store

import (
	"context"
	"database/sql"
	"time"

	"staithe/internal/station"
)

// maxUIDRange keeps range × 65,536 well inside 32-bit uids for every base.
const maxUIDRange = 32_000

// row is what *sql.Row and *sql.Rows have in common.
type row interface{ Scan(...any) error }

const userColumns = `id, name, admin, disabled, created_at`

func scanUser(r row, more ...any) (station.User, error) {
	var u station.User
	var created int64
	err := r.Scan(append([]any{&u.ID, &u.Name, &u.Admin, &u.Disabled, &created}, more...)...)
	u.CreatedAt = fromMicros(created)
	return u, err
}

// CreateUser adds a user and the workstation that belongs to it. An empty hash
// means no password yet. ErrConflict when the name is taken.
func (s *Store) CreateUser(ctx context.Context, u station.User, passwordHash string) error {
	return s.tx(ctx, "create the user", func(tx *sql.Tx) error { return insertUser(ctx, tx, u, passwordHash) })
}

// CreateInvited adds a user without a password and the invite link to set one,
// both or neither. ErrConflict when the name is taken.
func (s *Store) CreateInvited(ctx context.Context, u station.User, link [32]byte, expires time.Time) error {
	return s.tx(ctx, "create the user", func(tx *sql.Tx) error {
		if err := insertUser(ctx, tx, u, ""); err != nil {
			return err
		}
		return insertLink(ctx, tx, LinkInvite, link, u.ID, &expires)
	})
}

// CreateFirstAdmin spends the setup link and adds the first admin, both or
// neither. ErrGone when the link is not good or there is an admin already: of
// any number of callers at once exactly one wins.
func (s *Store) CreateFirstAdmin(ctx context.Context, link [32]byte, now time.Time, u station.User, passwordHash string) error {
	return s.tx(ctx, "create the first admin", func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE links SET used_at = ? WHERE hash = ? AND kind = 'setup' AND used_at IS NULL
			AND (expires_at IS NULL OR expires_at > ?) AND NOT EXISTS (SELECT 1 FROM users WHERE admin)`,
			micros(now), link[:], micros(now))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			if err != nil {
				return err
			}
			return station.ErrGone
		}
		return insertUser(ctx, tx, u, passwordHash)
	})
}

func insertUser(ctx context.Context, tx *sql.Tx, u station.User, passwordHash string) error {
	hash := sql.NullString{String: passwordHash, Valid: passwordHash != ""}
	_, err := tx.ExecContext(ctx, `INSERT INTO users (id, name, password_hash, admin, disabled, created_at) VALUES (?, ?, ?, ?, ?, ?)`,
		u.ID, u.Name, hash, u.Admin, u.Disabled, micros(u.CreatedAt))
	if err != nil {
		return taken(translate("insert user", err), "user", u.Name)
	}
	var uidRange int
	if err := tx.QueryRowContext(ctx, `INSERT INTO uid_ranges (user_id) VALUES (?) RETURNING n`, u.ID).Scan(&uidRange); err != nil {
		return err
	}
	if uidRange > maxUIDRange {
		return station.Errorf(station.ErrNoSpace, "no_uid_range",
			"This host has given out all %d user id ranges; set up another host.", maxUIDRange)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO workstations (id, user_id, uid_range) VALUES (?, ?, ?)`, station.NewID(), u.ID, uidRange)
	return err
}

// HasAdmin reports whether anybody has set this server up.
func (s *Store) HasAdmin(ctx context.Context) (bool, error) {
	var yes bool
	err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM users WHERE admin)`).Scan(&yes)
	return yes, translate("look for an admin", err)
}

// User finds a user by id.
func (s *Store) User(ctx context.Context, id station.ID) (station.User, error) {
	u, err := scanUser(s.read.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users WHERE id = ?`, id))
	return u, orMissing(translate("find the user", err), errNoUser)
}

// UserByRef finds a user by id or name; an id wins.
func (s *Store) UserByRef(ctx context.Context, ref string) (station.User, error) {
	u, err := scanUser(s.read.QueryRowContext(ctx,
		`SELECT `+userColumns+` FROM users WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC LIMIT 1`, ref))
	return u, orMissing(translate("find the user", err), errNoUser)
}

// Password finds a user by exact name, with the password's hash ("" when there
// is none yet).
func (s *Store) Password(ctx context.Context, name string) (station.User, string, error) {
	var hash sql.NullString
	u, err := scanUser(s.read.QueryRowContext(ctx, `SELECT `+userColumns+`, password_hash FROM users WHERE name = ?`, name), &hash)
	return u, hash.String, orMissing(translate("find the user", err), errNoUser)
}

// Users lists all users, oldest first.
func (s *Store) Users(ctx context.Context) ([]station.User, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+userColumns+` FROM users ORDER BY created_at, rowid`)
	if err != nil {
		return nil, translate("list the users", err)
	}
	defer rows.Close()
	users := []station.User{}
	for rows.Next() {
		u, err := scanUser(rows)
		if err != nil {
			return nil, translate("list the users", err)
		}
		users = append(users, u)
	}
	return users, translate("list the users", rows.Err())
}

// SetPassword stores a new hash and ends all of the user's logins but keep
// (empty: all), in one transaction.
func (s *Store) SetPassword(ctx context.Context, user station.ID, passwordHash string, keep station.ID) error {
	return s.tx(ctx, "change the password", func(tx *sql.Tx) error { return setPassword(ctx, tx, user, passwordHash, keep) })
}

func setPassword(ctx context.Context, tx *sql.Tx, user station.ID, passwordHash string, keep station.ID) error {
	res, err := tx.ExecContext(ctx, `UPDATE users SET password_hash = ? WHERE id = ?`, passwordHash, user)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		if err != nil {
			return err
		}
		return errNoUser
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM logins WHERE user_id = ? AND id <> ?`, user, keep); err != nil {
		return err
	}
	// A device that knew the old password is not known any more, and a link
	// sent before is not a second way in.
	if _, err := tx.ExecContext(ctx, `DELETE FROM devices WHERE user_id = ?`, user); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM links WHERE user_id = ? AND used_at IS NULL`, user)
	return err
}

// SetUserFlags disables or enables a user and gives or takes admin rights; nil
// leaves a flag alone. Disabling ends the user's logins. ErrConflict when no
// enabled admin would be left.
func (s *Store) SetUserFlags(ctx context.Context, id station.ID, disabled, admin *bool) (station.User, error) {
	var u station.User
	err := s.tx(ctx, "change the user", func(tx *sql.Tx) error {
		var err error
		u, err = scanUser(tx.QueryRowContext(ctx, `UPDATE users SET disabled = coalesce(?, disabled), admin = coalesce(?, admin)
			WHERE id = ? RETURNING `+userColumns, disabled, admin, id))
		if err != nil {
			return orMissing(translate("change the user", err), errNoUser)
		}
		if u.Disabled {
			if _, err := tx.ExecContext(ctx, `DELETE FROM logins WHERE user_id = ?`, id); err != nil {
				return err
			}
		}
		return needAdmin(ctx, tx)
	})
	return u, err
}

// DeleteUser removes a user and everything that belongs to it in the database.
// ErrConflict when no enabled admin would be left.
func (s *Store) DeleteUser(ctx context.Context, id station.ID) error {
	return s.tx(ctx, "delete the user", func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM users WHERE id = ?`, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			if err != nil {
				return err
			}
			return errNoUser
		}
		return needAdmin(ctx, tx)
	})
}

func needAdmin(ctx context.Context, tx *sql.Tx) error {
	var left bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM users WHERE admin AND NOT disabled)`).Scan(&left); err != nil {
		return err
	}
	if !left {
		return station.Errorf(station.ErrConflict, "last_admin",
			"This is the last admin who can sign in; make another user an admin first.")
	}
	return nil
}

// Workstation finds a user's workstation.
func (s *Store) Workstation(ctx context.Context, user station.ID) (station.Workstation, error) {
	var w station.Workstation
	err := s.read.QueryRowContext(ctx, `SELECT id, user_id, uid_range FROM workstations WHERE user_id = ?`, user).
		Scan(&w.ID, &w.User, &w.UIDRange)
	return w, orMissing(translate("find the workstation", err), errNoUser)
}
