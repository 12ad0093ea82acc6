package files

import (
	"os"
	"strings"
)

// SQLite keeps the newest of a database in files beside it: the log of commits
// (-wal) or what a transaction replaced (-journal). A database is restored with
// those of the same snapshot, or with none; the home's would be written into it.
var companionEnds = []string{"-wal", "-journal", "-shm"}

// sqliteHead is what each SQLite database begins with.
const sqliteHead = "SQLite format 3\x00"

// sqliteUnit is what the size of each SQLite database is a multiple of, in bytes.
const sqliteUnit = 512

// isDatabase says whether a file of an open folder is a database of SQLite.
func isDatabase(dir *os.File, base string) bool {
	f, _, err := openRegular(dir, base)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, len(sqliteHead))
	_, err = f.ReadAt(head, 0)
	return err == nil && string(head) == sqliteHead
}

// newerIn is what of a database's newest lies beside it in an open folder: -wal,
// -journal, or nothing.
func newerIn(dir *os.File, base string) (ends []string) {
	for _, end := range companionEnds[:2] {
		if st, err := lstat(dir, base+end); err == nil && kindOf(st.Mode) == KindFile && st.Size > 0 {
			ends = append(ends, end)
		}
	}
	return ends
}

// newerBeside says whether the home's database is newer than its file tells, by
// something beside it that is not fetched.
func newerBeside(from, home *os.File, base string) bool {
	for _, end := range newerIn(home, base) {
		if _, err := lstat(from, base+end); err != nil {
			return isDatabase(from, base)
		}
	}
	return false
}

// newerDatabase is newerBeside for a comparison.
func (c *comparison) newerDatabase(v visited) bool {
	if v.st.Size < sqliteUnit || v.st.Size%sqliteUnit != 0 {
		return false
	}
	for _, end := range newerIn(v.dir, v.name) {
		if c.was[lossy(v.rel)+end] == nil {
			return isDatabase(v.dir, v.name)
		}
	}
	return false
}

// ofDatabase says whether v is what SQLite keeps beside a database that is
// replaced: then it comes from the snapshot, too, though it is the same.
func (c *comparison) ofDatabase(v visited) bool {
	for _, end := range companionEnds {
		base, ok := strings.CutSuffix(v.name, end)
		if !ok || base == "" {
			continue
		}
		w := c.was[strings.TrimSuffix(lossy(v.rel), end)]
		if w == nil || w.Kind != KindFile {
			return false
		}
		st, err := lstat(v.dir, base)
		return err != nil || kindOf(st.Mode) != KindFile || !sameFile(w.Was, st)
	}
	return false
}

// companions takes away what SQLite keeps beside a database that is replaced, and
// that does not come with it.
func (d *decider) companions(from, home *os.File, base string, rel Path) error {
	if !isDatabase(from, base) {
		return nil
	}
	for _, end := range companionEnds {
		if _, err := lstat(from, base+end); err == nil {
			continue // it is replaced, too
		}
		if _, err := lstat(home, base+end); err != nil {
			continue
		}
		if err := d.out.Encode(step{Do: "out", Path: rel + Path(end), From: rel + Path(end)}); err != nil {
			return err
		}
	}
	return nil
}
