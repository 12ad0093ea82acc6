// Command transactions commits rows to a SQLite database in the present folder, and
// says how long that took; a benchmark runs it inside and outside of a session.
package main

import (
	"database/sql"
	"fmt"
	"os"
	"time"

	_ "modernc.org/sqlite"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func run() error {
	db, err := sql.Open("sqlite", "file:transactions.db?_pragma=synchronous(1)&_pragma=journal_mode(wal)")
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, text TEXT)"); err != nil {
		return err
	}
	begun := time.Now()
	for i := range 20_000 {
		if _, err := db.Exec("INSERT INTO t (text) VALUES (?)", fmt.Sprint("row ", i)); err != nil {
			return err
		}
	}
	fmt.Printf("took %d us\n", time.Since(begun).Microseconds())
	return nil
}
