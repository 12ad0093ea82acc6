// Command staithe-backup starts programs in jails for staithe's backups, and is
// one of them: it copies databases. It is started by staithe, never by hand.
package main

import (
	"fmt"
	"os"

	"staithe/internal/volume/capture"
	"staithe/internal/volume/jail"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == capture.Word {
		if err := capture.Main(os.Args[2], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "capture:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(jail.Main())
}
