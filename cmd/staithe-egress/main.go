// Command staithe-egress is the way out of one session. It is started by
// staithe, never by hand.
package main

import (
	"fmt"
	"log/slog"
	"os"

	"staithe/internal/egress"
	"staithe/internal/egress/wayout"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err := wayout.Main(os.Args[1:], log)
	if len(os.Args) > 1 && os.Args[1] == egress.ProbeCommand && err != nil {
		fmt.Fprintln(os.Stderr, err) // for a person, see egress.Probe
		os.Exit(1)
	}
	if err != nil {
		log.Error("the way out ended", "error", err)
		os.Exit(1)
	}
}
