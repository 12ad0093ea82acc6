package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"staithe/internal/station"
)

const tokenColumns = `t.id, t.user_id, t.name, t.scopes, t.created_at, t.expires_at, t.used_at`

func scanToken(r row, more ...any) (station.APIToken, error) {
	var t station.APIToken
	var scopes string
	var created int64
	var expires, used sql.NullInt64
	if err := r.Scan(append([]any{&t.ID, &t.User, &t.Name, &scopes, &created, &expires, &used}, more...)...); err != nil {
		return t, err
	}
	t.CreatedAt, t.ExpiresAt, t.UsedAt = fromMicros(created), fromNullMicros(expires), fromNullMicros(used)
	return t, json.Unmarshal([]byte(scopes), &t.Scopes)
}

// CreateToken stores an API token under its hash.
func (s *Store) CreateToken(ctx context.Context, t station.APIToken, hash [32]byte) error {
	scopes, err := json.Marshal(t.Scopes)
	if err != nil {
		return fmt.Errorf("encode scopes: %w", err)
	}
	_, err = s.exec(ctx, "store the token",
		`INSERT INTO api_tokens (id, user_id, token_hash, name, scopes, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		t.ID, t.User, hash[:], t.Name, string(scopes), micros(t.CreatedAt), microsOrNull(t.ExpiresAt))
	return err
}

const tokenWithUser = `SELECT ` + tokenColumns + `, u.id, u.name, u.admin, u.disabled, u.created_at
	FROM api_tokens t JOIN users u ON u.id = t.user_id WHERE `

func scanTokenWithUser(r row) (station.APIToken, station.User, error) {
	var u station.User
	var created int64
	t, err := scanToken(r, &u.ID, &u.Name, &u.Admin, &u.Disabled, &created)
	u.CreatedAt = fromMicros(created)
	return t, u, translate("find the token", err)
}

// TokenByHash finds an API token and its user, expired or not.
func (s *Store) TokenByHash(ctx context.Context, hash [32]byte) (station.APIToken, station.User, error) {
	return scanTokenWithUser(s.read.QueryRowContext(ctx, tokenWithUser+`t.token_hash = ?`, hash[:]))
}

// Token finds an API token and its user by id, expired or not.
func (s *Store) Token(ctx context.Context, id station.ID) (station.APIToken, station.User, error) {
	return scanTokenWithUser(s.read.QueryRowContext(ctx, tokenWithUser+`t.id = ?`, id))
}

// Tokens lists a user's API tokens, oldest first.
func (s *Store) Tokens(ctx context.Context, user station.ID) ([]station.APIToken, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+tokenColumns+` FROM api_tokens t WHERE user_id = ? ORDER BY created_at, rowid`, user)
	if err != nil {
		return nil, translate("list the tokens", err)
	}
	defer rows.Close()
	list := []station.APIToken{}
	for rows.Next() {
		t, err := scanToken(rows)
		if err != nil {
			return nil, translate("list the tokens", err)
		}
		list = append(list, t)
	}
	return list, translate("list the tokens", rows.Err())
}

// DeleteToken removes one of a user's API tokens; another user's is not found.
func (s *Store) DeleteToken(ctx context.Context, user, id station.ID) error {
	return s.execOne(ctx, "delete the token", errNoToken, `DELETE FROM api_tokens WHERE id = ? AND user_id = ?`, id, user)
}

// TouchToken notes when an API token was last used.
func (s *Store) TouchToken(ctx context.Context, id station.ID, now time.Time) error {
	_, err := s.exec(ctx, "note the token's use", `UPDATE api_tokens SET used_at = ? WHERE id = ?`, micros(now), id)
	return err
}
