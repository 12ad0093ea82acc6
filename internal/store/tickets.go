package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"staithe/internal/station"
)

// CreateTicket stores a ticket under its secret's hash and sweeps those out of
// time.
func (s *Store) CreateTicket(ctx context.Context, t station.Ticket, hash [32]byte) error {
	return s.tx(ctx, "store the ticket", func(tx *sql.Tx) error {
		// A spent or late ticket is of no use to anybody; the table stays as
		// small as a minute of minting.
		issued := t.ExpiresAt.Add(-station.TicketLife)
		if _, err := tx.ExecContext(ctx, `DELETE FROM tickets WHERE expires_at <= ?`, micros(issued)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO tickets
			(hash, id, user_id, session_id, tab_id, scope, role, issuer_kind, issuer_id, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			hash[:], t.ID, t.User, t.Session, t.Tab, t.Scope, t.Role, t.Issuer.Kind, t.Issuer.ID, micros(t.ExpiresAt))
		return err
	})
}

// SpendTicket takes a ticket, whatever it is for: exactly one caller gets it.
// ErrGone when it is unknown, spent or out of time.
func (s *Store) SpendTicket(ctx context.Context, hash [32]byte, now time.Time) (station.Ticket, error) {
	var t station.Ticket
	var expires int64
	err := s.write.QueryRowContext(ctx, `UPDATE tickets SET used_at = ?1 WHERE hash = ?2 AND used_at IS NULL AND expires_at > ?1
		RETURNING id, user_id, session_id, tab_id, scope, role, issuer_kind, issuer_id, expires_at`, micros(now), hash[:]).
		Scan(&t.ID, &t.User, &t.Session, &t.Tab, &t.Scope, &t.Role, &t.Issuer.Kind, &t.Issuer.ID, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return t, station.ErrGone
	}
	t.ExpiresAt, t.Issuer.User = fromMicros(expires), t.User
	return t, translate("take the ticket", err)
}
