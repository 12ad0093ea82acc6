package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"staithe/internal/station"
)

// backupPoll is how often a snapshot that is being made is asked after.
const backupPoll = 300 * time.Millisecond

func backupCommand() *cobra.Command {
	var state bool
	c := &cobra.Command{
		Use:   "backup",
		Short: "Make a snapshot of your home now, or see how safe it is",
		Long: `Make a snapshot of your home now, and wait until it is verified. Snapshots are
made by themselves, too: this is for the moment before something risky.

With --state, say how safe your home is, and what snapshots leave out.
"staithe restore" lists the snapshots and gets files back.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := connect()
			if err != nil {
				return err
			}
			k := backupKeeper{restorer{api: a, out: cmd.OutOrStdout()}, cmd.ErrOrStderr()}
			if state {
				return k.tell(cmd.Context())
			}
			return k.now(cmd.Context())
		},
	}
	c.Flags().BoolVar(&state, "state", false, "make none; say how safe your home is")
	return c
}

// backupKeeper asks for snapshots as a person.
type backupKeeper struct {
	restorer
	progress io.Writer
}

// now asks for a snapshot and waits for it. One that somebody else asked for at the
// same moment will do.
func (k *backupKeeper) now(ctx context.Context) error {
	before, err := k.snapshots(ctx)
	if err != nil {
		return err
	}
	var s station.BackupState
	if err := k.api.call(ctx, "POST", workstationPath+"/backups", nil, &s); err != nil {
		return err
	}
	live := k.progress == io.Writer(os.Stderr) && term.IsTerminal(int(os.Stderr.Fd()))
	for {
		var b struct {
			State     station.BackupState
			Snapshots []station.Snapshot
		}
		if err := k.api.call(ctx, "GET", workstationPath+"/backups", nil, &b); err != nil {
			return err
		}
		if live {
			fmt.Fprint(k.progress, "\r\x1b[K"+doing(b.State))
		}
		i := slices.IndexFunc(b.Snapshots, func(s station.Snapshot) bool {
			return slices.Contains(s.Tags, "asked") && !s.Verified.IsZero() &&
				!slices.ContainsFunc(before, func(old station.Snapshot) bool { return old.ID == s.ID })
		})
		failed := b.State.Trouble != "" && !b.State.Retry.Equal(s.Retry) // an older trouble's stays until this one ends
		if live && (i >= 0 || failed) {
			fmt.Fprint(k.progress, "\r\x1b[K")
		}
		switch {
		case i >= 0:
			s := b.Snapshots[i]
			fmt.Fprintf(k.out, "%-10.10s %s  %d files %s, %d changed, %s added\n", printable(s.ID), s.At.Local().Format("2006-01-02 15:04:05"), s.Files, sizeText(s.Bytes), s.Changed, sizeText(s.Added))
			return nil
		case failed:
			return station.Errorf(station.ErrUnavailable, "backup_failed", "%s It is tried again by itself.", printable(b.State.Trouble))
		}
		select {
		case <-ctx.Done():
			fmt.Fprintln(k.progress, "\nIt goes on on the server; see `staithe backup --state`.")
			return exitCode(1)
		case <-time.After(backupPoll):
		}
	}
}

func doing(s station.BackupState) string {
	switch {
	case s.Busy == "":
		return "waiting for its turn"
	case s.Total > 0:
		return fmt.Sprintf("%s: %s of %s", printable(s.Busy), sizeText(s.Done), sizeText(s.Total))
	}
	return printable(s.Busy)
}

// tell says how safe the home is.
func (k *backupKeeper) tell(ctx context.Context) error {
	var s station.BackupState
	if err := k.api.call(ctx, "GET", workstationPath+"/backups/state", nil, &s); err != nil {
		return err
	}
	if !s.On {
		fmt.Fprintf(k.out, "no snapshots are made: %s\n", printable(s.Off))
		return nil
	}
	ago := func(t time.Time) string {
		if t.IsZero() {
			return "not yet"
		}
		return time.Since(t).Round(time.Second).String() + " ago"
	}
	pending := fmt.Sprint(s.Pending)
	if s.Pending < 0 {
		pending = "not known"
	}
	fmt.Fprintf(k.out, "safe: %s\nfiles pending: %s\nrepository verified: %s\nplace: %s\n", ago(s.Safe), pending, ago(s.Scrubbed), printable(s.Place))
	if s.Busy != "" {
		fmt.Fprintf(k.out, "now: %s\n", doing(s))
	}
	if s.Trouble != "" {
		fmt.Fprintf(k.out, "trouble: %s It is tried again by itself.\n", printable(s.Trouble))
	}
	for _, l := range s.Left {
		fmt.Fprintf(k.out, "left out: %s (%d files, %s): %s\n", printable(l.Rule), l.Files, sizeText(l.Bytes), printable(l.Why))
	}
	return nil
}
