// Command staithe is a cloud workstation in one binary: it serves the page and
// the API, runs each session in a sandbox, and attaches a native terminal to
// one. `staithe help` lists what it can do.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"staithe/internal/image"
	"staithe/internal/station"
)

// version is set at link time.
var version = "dev"

// exitCode is an error that only sets the exit code: all was said already.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	image.MaybeMapped()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // who asks twice does not wait: nothing is lost by a kill
	if err := root().ExecuteContext(ctx); err != nil {
		stop()
		os.Exit(report(err))
	}
}

// report says what went wrong and returns the exit code.
func report(err error) int {
	var code exitCode
	if errors.As(err, &code) {
		return int(code)
	}
	var p *station.Problem
	if errors.As(err, &p) {
		fmt.Fprintln(os.Stderr, "staithe: "+p.Sentence)
		if p.Cause != nil {
			fmt.Fprintln(os.Stderr, "  because: "+p.Cause.Error())
		}
		return 1
	}
	text := err.Error()
	fmt.Fprintln(os.Stderr, "staithe: "+text)
	if strings.HasPrefix(text, "unknown") || strings.Contains(text, "arg(s)") {
		fmt.Fprintln(os.Stderr, "  `staithe help` lists what there is.")
		return 2
	}
	return 1
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "staithe",
		Short: "Your own machine in a browser tab, and its shells are still there tomorrow",
		Long: `staithe serves cloud workstations: each person has one durable home, and any
number of sessions on it, each an isolated sandbox with shells that outlive
dropped links, closed pages and restarts of the server.

Begin with:  staithe serve`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.CompletionOptions.HiddenDefaultCmd = true
	c.AddCommand(serveCommand(), attachCommand(), keepAwakeCommand(), loginCommand(), doctorCommand(), imageCommand(), adminCommand(),
		copyCommand(), syncCommand(), listCommand(), catCommand(), backupCommand(), restoreCommand(), importCommand())
	return c
}
