// Command staithe-backup starts programs in jails for staithe's backups. It is
// started by staithe, never by hand.
package main

import (
	"os"

	"staithe/internal/volume/jail"
)

func main() {
	os.Exit(jail.Main())
}
