package store

import (
	"context"
	"time"

	"staithe/internal/station"
)

// maxDevices is how many browsers are remembered per user.
const maxDevices = 50

// CreateLogin stores a login under its token's hash and sweeps the user's
// expired ones.
func (s *Store) CreateLogin(ctx context.Context, l station.Login, hash [32]byte) error {
	if _, err := s.exec(ctx, "sweep old logins", `DELETE FROM logins WHERE expires_at <= ?`, micros(l.CreatedAt)); err != nil {
		return err
	}
	_, err := s.exec(ctx, "store the login", `INSERT INTO logins (id, user_id, token_hash, created_at, expires_at) VALUES (?, ?, ?, ?, ?)`,
		l.ID, l.User, hash[:], micros(l.CreatedAt), micros(l.ExpiresAt))
	return err
}

const loginColumns = `l.id, l.user_id, l.created_at, l.expires_at, u.id, u.name, u.admin, u.disabled, u.created_at`

func scanLogin(r row) (station.Login, station.User, error) {
	var l station.Login
	var u station.User
	var created, expires, userCreated int64
	err := r.Scan(&l.ID, &l.User, &created, &expires, &u.ID, &u.Name, &u.Admin, &u.Disabled, &userCreated)
	l.CreatedAt, l.ExpiresAt, u.CreatedAt = fromMicros(created), fromMicros(expires), fromMicros(userCreated)
	return l, u, err
}

// LoginByHash finds a login and its user by the token's hash, expired or not.
func (s *Store) LoginByHash(ctx context.Context, hash [32]byte) (station.Login, station.User, error) {
	l, u, err := scanLogin(s.read.QueryRowContext(ctx,
		`SELECT `+loginColumns+` FROM logins l JOIN users u ON u.id = l.user_id WHERE l.token_hash = ?`, hash[:]))
	return l, u, translate("find the login", err)
}

// Login finds a login and its user by id, expired or not.
func (s *Store) Login(ctx context.Context, id station.ID) (station.Login, station.User, error) {
	l, u, err := scanLogin(s.read.QueryRowContext(ctx,
		`SELECT `+loginColumns+` FROM logins l JOIN users u ON u.id = l.user_id WHERE l.id = ?`, id))
	return l, u, translate("find the login", err)
}

// DeleteLogin ends a login; it is no error when it is gone already.
func (s *Store) DeleteLogin(ctx context.Context, id station.ID) error {
	_, err := s.exec(ctx, "end the login", `DELETE FROM logins WHERE id = ?`, id)
	return err
}

// RememberDevice notes that a browser has signed in as a user.
func (s *Store) RememberDevice(ctx context.Context, hash [32]byte, user station.ID, now time.Time) error {
	_, err := s.exec(ctx, "remember the device", `INSERT INTO devices (hash, user_id, seen_at) VALUES (?, ?, ?)
		ON CONFLICT (hash, user_id) DO UPDATE SET seen_at = excluded.seen_at`, hash[:], user, micros(now))
	if err != nil {
		return err
	}
	_, err = s.exec(ctx, "forget old devices", `DELETE FROM devices WHERE user_id = ?1 AND hash NOT IN
		(SELECT hash FROM devices WHERE user_id = ?1 ORDER BY seen_at DESC LIMIT ?2)`, user, maxDevices)
	return err
}

// KnownDevice reports whether a browser has signed in as the user before.
func (s *Store) KnownDevice(ctx context.Context, hash [32]byte, user station.ID) (bool, error) {
	var yes bool
	err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM devices WHERE hash = ? AND user_id = ?)`, hash[:], user).Scan(&yes)
	return yes, translate("find the device", err)
}
