// Command staithe-egress is the way out of one session. It is started by
// staithe, never by hand.
package main

import (
	"log/slog"
	"os"

	"staithe/internal/egress/wayout"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := wayout.Main(os.Args[1:], log); err != nil {
		log.Error("the way out ended", "error", err)
		os.Exit(1)
	}
}
