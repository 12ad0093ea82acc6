package store

import (
	"context"

	"staithe/internal/station"
)

const sessionColumns = `id, user_id, name, class, state, reason, created_at, active_at`

func scanSession(r row) (station.Session, error) {
	var s station.Session
	var created, active int64
	err := r.Scan(&s.ID, &s.User, &s.Name, &s.Class, &s.State, &s.Reason, &created, &active)
	s.CreatedAt, s.ActiveAt = fromMicros(created), fromMicros(active)
	return s, err
}

// CreateSession adds a session. ErrConflict when the user has one of that name.
func (s *Store) CreateSession(ctx context.Context, v station.Session) error {
	_, err := s.exec(ctx, "create the session", `INSERT INTO sessions (`+sessionColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		v.ID, v.User, v.Name, v.Class, v.State, v.Reason, micros(v.CreatedAt), micros(v.ActiveAt))
	return taken(err, "session", v.Name)
}

// Session finds a session by id.
func (s *Store) Session(ctx context.Context, id station.ID) (station.Session, error) {
	v, err := scanSession(s.read.QueryRowContext(ctx, `SELECT `+sessionColumns+` FROM sessions WHERE id = ?`, id))
	return v, orMissing(translate("find the session", err), errNoSession)
}

// SessionByRef finds a user's session by id or by its name; an id wins.
// Another user's session is not found.
func (s *Store) SessionByRef(ctx context.Context, user station.ID, ref string) (station.Session, error) {
	v, err := scanSession(s.read.QueryRowContext(ctx, `SELECT `+sessionColumns+` FROM sessions
		WHERE user_id = ?1 AND (id = ?2 OR name = ?2) ORDER BY id = ?2 DESC LIMIT 1`, user, ref))
	return v, orMissing(translate("find the session", err), errNoSession)
}

// Sessions lists a user's sessions, oldest first.
func (s *Store) Sessions(ctx context.Context, user station.ID) ([]station.Session, error) {
	return s.listSessions(ctx, `WHERE user_id = ?`, user)
}

// AllSessions lists every user's sessions, oldest first.
func (s *Store) AllSessions(ctx context.Context) ([]station.Session, error) {
	return s.listSessions(ctx, ``)
}

func (s *Store) listSessions(ctx context.Context, where string, args ...any) ([]station.Session, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+sessionColumns+` FROM sessions `+where+` ORDER BY created_at, rowid`, args...)
	if err != nil {
		return nil, translate("list the sessions", err)
	}
	defer rows.Close()
	list := []station.Session{}
	for rows.Next() {
		v, err := scanSession(rows)
		if err != nil {
			return nil, translate("list the sessions", err)
		}
		list = append(list, v)
	}
	return list, translate("list the sessions", rows.Err())
}

// UpdateSession stores a session's name, class, state, reason and time of last
// activity. ErrNotFound when it is gone, ErrConflict when the name is taken.
func (s *Store) UpdateSession(ctx context.Context, v station.Session) error {
	err := s.execOne(ctx, "change the session", errNoSession,
		`UPDATE sessions SET name = ?, class = ?, state = ?, reason = ?, active_at = ? WHERE id = ?`,
		v.Name, v.Class, v.State, v.Reason, micros(v.ActiveAt), v.ID)
	return taken(err, "session", v.Name)
}

// DeleteSession removes a session. ErrNotFound when it is gone.
func (s *Store) DeleteSession(ctx context.Context, id station.ID) error {
	return s.execOne(ctx, "delete the session", errNoSession, `DELETE FROM sessions WHERE id = ?`, id)
}
