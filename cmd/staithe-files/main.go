// Command staithe-files serves the files of one user's home to staithe. It is
// started by staithe, never by hand.
package main

import (
	"log/slog"
	"os"

	"staithe/internal/files/helper"
)

func main() {
	log := slog.New(slog.NewTextHandler(&helper.Log{File: os.Stderr}, nil))
	if err := helper.Main(log); err != nil {
		log.Error("the files helper ended", "error", err)
		os.Exit(1)
	}
}
