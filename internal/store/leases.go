package store

import (
	"context"
	"time"

	"staithe/internal/station"
)

var errLeased = station.Errorf(station.ErrConflict, "other_server",
	"Another staithe server runs this session. Use it there, or stop that server and try again after half a minute.")

// TakeLease makes holder the server that runs a session until then, in one
// step: of two that try at once one does. A lease of another's that has run out
// by now is taken over. ErrConflict when another's has not, ErrNotFound when the
// session is gone.
func (s *Store) TakeLease(ctx context.Context, id, holder station.ID, now, until time.Time) error {
	n, err := s.exec(ctx, "take the session's lease", `UPDATE sessions SET lease_holder = ?2, lease_until = ?4
		WHERE id = ?1 AND (lease_holder IN ('', ?2) OR lease_until <= ?3)`, id, holder, micros(now), micros(until))
	return s.changed(ctx, n, err, id)
}

// RenewLeases gives all sessions that holder runs until then, in one statement,
// and says which they are.
func (s *Store) RenewLeases(ctx context.Context, holder station.ID, until time.Time) ([]station.ID, error) {
	const what = "renew the sessions' leases"
	rows, err := s.write.QueryContext(ctx, `UPDATE sessions SET lease_until = ?2 WHERE lease_holder = ?1 RETURNING id`, holder, micros(until))
	if err != nil {
		return nil, translate(what, err)
	}
	defer rows.Close()
	var ids []station.ID
	for rows.Next() {
		var id station.ID
		if err := rows.Scan(&id); err != nil {
			return nil, translate(what, err)
		}
		ids = append(ids, id)
	}
	return ids, translate(what, rows.Err())
}

// DropLease says that holder runs the session no more. What is not its own it
// leaves.
func (s *Store) DropLease(ctx context.Context, id, holder station.ID) error {
	_, err := s.exec(ctx, "give the session's lease back", `UPDATE sessions SET lease_holder = '', lease_until = 0
		WHERE id = ? AND lease_holder = ?`, id, holder)
	return err
}
