// Command staithe-guest is PID 1 of a sandbox. It is started by staithe, never
// by hand. Under other names it is the commands that a session has inside.
package main

import (
	"log/slog"
	"os"

	"staithe/internal/guest"
)

// version is set at link time.
var version = "dev"

func main() {
	if code, ok := guest.Command(os.Args, os.Stdout, os.Stderr); ok {
		os.Exit(code)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := guest.Main(version, log); err != nil {
		log.Error("the guest cannot serve", "error", err)
		os.Exit(1)
	}
}
