package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"staithe/internal/station"
)

// beforeDir holds the database as it was before its schema was last changed.
const beforeDir = "before-migration"

// Copy writes the database as it is at this moment to a file, while it is in use
// and without stopping anybody. What means nothing elsewhere is left out: tickets,
// which live for seconds, and the leases of the server that runs now. The file
// is whole or not there; one that was there is replaced. It is the server's
// alone (mode 0600).
func (s *Store) Copy(ctx context.Context, path string) error {
	tmp, err := freeName(path)
	if err != nil {
		return err
	}
	defer os.Remove(tmp) // gone after the rename
	if err := copyInto(ctx, s.write, tmp); err != nil {
		return err
	}
	if err := leaveOut(ctx, tmp); err != nil {
		return err
	}
	return settle(tmp, path)
}

// freeName is where a copy is made until it is whole; what a killed process left
// there is removed.
func freeName(path string) (string, error) {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("copy the database: %w", err)
	}
	return tmp, nil
}

// copyInto is SQLite's VACUUM INTO: one consistent state, compact. It reads in a
// transaction of its own, so that writers wait only until it is through.
func copyInto(ctx context.Context, db *sql.DB, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // SQLite would make it readable
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("copy the database: %w", err)
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, path)
	return translate("copy the database", err)
}

// leaveOut removes from a copy what means nothing elsewhere. The copy then has no
// WAL beside it: it is one file.
func leaveOut(ctx context.Context, path string) error {
	db, err := connect(path, 1, "_pragma=journal_mode(DELETE)")
	if err != nil {
		return translate("open the database's copy", err)
	}
	_, err = db.ExecContext(ctx, `DELETE FROM tickets; UPDATE sessions SET lease_holder = '', lease_until = 0`)
	return translate("make the database's copy", errors.Join(err, db.Close()))
}

// settle gives a finished copy its name, for good.
func settle(tmp, path string) error {
	f, err := os.Open(tmp)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("copy the database: %w", err)
	}
	return nil
}

// passing is what changes all the time and says nothing: not a reason to copy the
// database anew.
var passing = map[string][]string{
	"tickets":    {"*"},
	"sessions":   {"active_at", "lease_holder", "lease_until"},
	"api_tokens": {"used_at"},
	"devices":    {"seen_at"},
}

// Fingerprint is one text for one content of the database, but for what changes
// all the time: when somebody was last seen, and leases. It reads all of it, in
// one transaction.
func (s *Store) Fingerprint(ctx context.Context) (string, error) {
	const what = "compare the database"
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return "", translate(what, err)
	}
	defer tx.Rollback() // it only reads
	tables, err := names(ctx, tx, `SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name`)
	if err != nil {
		return "", translate(what, err)
	}
	sum := sha256.New()
	for _, table := range tables {
		columns, err := names(ctx, tx, `SELECT name FROM pragma_table_info(?) ORDER BY cid`, table)
		if err != nil {
			return "", translate(what, err)
		}
		kept := lasting(table, columns)
		if len(kept) == 0 {
			continue
		}
		// quote() tells apart what looks alike, such as 1 and '1'.
		rows, err := names(ctx, tx, `SELECT quote(`+strings.Join(kept, `) || ',' || quote(`)+`) AS line FROM `+quoted(table)+` ORDER BY line`)
		if err != nil {
			return "", translate(what, err)
		}
		fmt.Fprintf(sum, "%s %d %d\n", table, len(kept), len(rows))
		for _, row := range rows {
			fmt.Fprintln(sum, row)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// lasting is a table's columns, quoted, without those that are passing.
func lasting(table string, columns []string) (kept []string) {
	for _, c := range columns {
		skip := false
		for _, p := range passing[table] {
			skip = skip || p == "*" || p == c
		}
		if !skip {
			kept = append(kept, quoted(c))
		}
	}
	return kept
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// names is the one column of a query.
func names(ctx context.Context, tx *sql.Tx, query string, args ...any) ([]string, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// keepBefore copies the database aside before its schema is changed, and removes
// what earlier changes left there.
func keepBefore(ctx context.Context, db *sql.DB, path string, have int64) error {
	dir := filepath.Join(filepath.Dir(path), beforeDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return unusableDir(filepath.Dir(path), err)
	}
	name := fmt.Sprintf("schema-%d.db", have)
	tmp, err := freeName(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	if err := copyInto(ctx, db, tmp); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := settle(tmp, filepath.Join(dir, name)); err != nil {
		return err
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look at the database's earlier copies: %w", err)
	}
	for _, e := range old {
		if e.Name() == name {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove an earlier copy of the database: %w", err)
		}
	}
	return nil
}

// BeforeMigration is where the database is kept as it was before its schema was
// last changed; empty: it was not changed since the data directory was made.
func BeforeMigration(data string) (string, error) {
	found, err := filepath.Glob(filepath.Join(data, beforeDir, "schema-*.db"))
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[len(found)-1], nil
}

// AllWorkstations lists every workstation with its user's name, by name.
func (s *Store) AllWorkstations(ctx context.Context) ([]NamedWorkstation, error) {
	const what = "list the workstations"
	rows, err := s.read.QueryContext(ctx, `SELECT w.id, w.user_id, w.uid_range, u.name FROM workstations w
		JOIN users u ON u.id = w.user_id ORDER BY u.name`)
	if err != nil {
		return nil, translate(what, err)
	}
	defer rows.Close()
	var out []NamedWorkstation
	for rows.Next() {
		var w NamedWorkstation
		if err := rows.Scan(&w.ID, &w.User, &w.UIDRange, &w.Name); err != nil {
			return nil, translate(what, err)
		}
		out = append(out, w)
	}
	return out, translate(what, rows.Err())
}

// NamedWorkstation is a workstation and whose it is.
type NamedWorkstation struct {
	station.Workstation
	Name string // the user's
}
