package store

import (
	"context"
	"time"

	"staithe/internal/station"
)

const sessionColumns = `id, user_id, name, class, state, reason, created_at, active_at,
	frozen, slept_at, keep_awake_until, notice_code, notice_text, notice_at, lease_holder`

func scanSession(r row) (station.Session, error) {
	var s station.Session
	var created, active, slept, awake, noticed int64
	err := r.Scan(&s.ID, &s.User, &s.Name, &s.Class, &s.State, &s.Reason, &created, &active,
		&s.Frozen, &slept, &awake, &s.Notice.Code, &s.Notice.Text, &noticed, &s.Holder)
	s.CreatedAt, s.ActiveAt = fromMicros(created), fromMicros(active)
	s.SleptAt, s.KeepAwakeUntil, s.Notice.At = fromZeroMicros(slept), fromZeroMicros(awake), fromZeroMicros(noticed)
	return s, err
}

// CreateSession adds a session, which v.Holder runs until the lease's end.
// ErrConflict when the user has one of that name.
func (s *Store) CreateSession(ctx context.Context, v station.Session, lease time.Time) error {
	_, err := s.exec(ctx, "create the session", `INSERT INTO sessions
		(id, user_id, name, class, state, reason, created_at, active_at, lease_holder, lease_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		v.ID, v.User, v.Name, v.Class, v.State, v.Reason, micros(v.CreatedAt), micros(v.ActiveAt), v.Holder, zeroMicros(lease))
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

// UpdateSession stores what a session does: state, reason, whether it is
// frozen, and its times. ErrNotFound when it is gone; ErrConflict when another
// server than v.Holder, which it was read with, has taken it over since.
func (s *Store) UpdateSession(ctx context.Context, v station.Session) error {
	n, err := s.exec(ctx, "change the session",
		`UPDATE sessions SET state = ?, reason = ?, frozen = ?, slept_at = ?, active_at = ? WHERE id = ? AND lease_holder = ?`,
		v.State, v.Reason, v.Frozen, zeroMicros(v.SleptAt), micros(v.ActiveAt), v.ID, v.Holder)
	return s.changed(ctx, n, err, v.ID)
}

// changed tells a session that is gone from one that another server runs.
func (s *Store) changed(ctx context.Context, n int64, err error, id station.ID) error {
	if err != nil || n > 0 {
		return err
	}
	if _, err := s.Session(ctx, id); err != nil {
		return err
	}
	return errLeased
}

// RenameSession gives a session another name. ErrNotFound when it is gone,
// ErrConflict when the user has one of that name.
func (s *Store) RenameSession(ctx context.Context, id station.ID, name string) error {
	err := s.execOne(ctx, "rename the session", errNoSession, `UPDATE sessions SET name = ? WHERE id = ?`, name, id)
	return taken(err, "session", name)
}

// SetKeepAwake stores until when a session stays awake whatever it does; the
// zero time is not at all. ErrNotFound when it is gone.
func (s *Store) SetKeepAwake(ctx context.Context, id station.ID, until time.Time) error {
	return s.execOne(ctx, "keep the session awake", errNoSession,
		`UPDATE sessions SET keep_awake_until = ? WHERE id = ?`, zeroMicros(until), id)
}

// SetNotice stores what the session's person is told; the zero notice is
// nothing. ErrNotFound when it is gone.
func (s *Store) SetNotice(ctx context.Context, id station.ID, n station.Notice) error {
	return s.execOne(ctx, "note it in the session", errNoSession,
		`UPDATE sessions SET notice_code = ?, notice_text = ?, notice_at = ? WHERE id = ?`, n.Code, n.Text, zeroMicros(n.At), id)
}

// DeleteSession removes a session. ErrNotFound when it is gone.
func (s *Store) DeleteSession(ctx context.Context, id station.ID) error {
	return s.execOne(ctx, "delete the session", errNoSession, `DELETE FROM sessions WHERE id = ?`, id)
}
