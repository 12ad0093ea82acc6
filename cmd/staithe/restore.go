package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"staithe/internal/config"
	"staithe/internal/station"
)

func restoreCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "restore [PATH]",
		Short: "Have files back as they were, or a whole server",
		Long: `Without PATH, list the moments your home can go back to.

With PATH, a file or a folder of your home (. is all of it), have it back as it
was at --snapshot: an id, latest, or a time such as "2 hours ago", "yesterday" or
"2026-11-29 14:03". It is put beside what is there now. With --in-place it takes
its place; what it replaces goes to the trash, and --undo takes all of that back.

With --from, have a whole server back, into an empty data directory: the
database, and every user's home. FROM is s3://BUCKET/PREFIX, with the store and
its credentials in S3_ENDPOINT, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and so on,
or a folder with the repositories. The key is that of the old server's
backup.key, in the file --key-file or in STAITHE_BACKUP_KEY. Run it again if it
was cut off: it goes on. When a home cannot be brought the others still are, and
no server starts until it is, or until you do without it: --without USER.`,
		Args: cobra.MaximumNArgs(1),
	}
	var q restoreFlags
	f := c.Flags()
	f.StringVar(&q.snapshot, "snapshot", "latest", "the `moment`")
	f.BoolVar(&q.inPlace, "in-place", false, "replace what is there")
	f.BoolVar(&q.exact, "exact", false, "with --in-place: what was not there then goes to the trash, too")
	f.BoolVar(&q.yes, "yes", false, "do not ask")
	f.StringVar(&q.undo, "undo", "", "take back the restore of this `id`")
	f.StringVar(&q.from, "from", "", "restore a whole server from `s3://BUCKET/PREFIX` or a folder")
	f.StringArrayVar(&q.without, "without", nil, "with --from: do without the home of this `user`; can be given more than once")
	f.StringVar(&q.keyFile, "key-file", "", "with --from: the `file` with the old server's backup key")
	loader := configFlags(c)
	hideSettings(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if q.from != "" {
			if len(args) > 0 || q.inPlace || q.undo != "" {
				return station.Errorf(station.ErrInvalid, "bad_usage", "--from restores a whole server; give no PATH, --in-place or --undo with it.")
			}
			return restoreServer(cmd.Context(), loader, q, cmd.OutOrStdout())
		}
		if len(q.without) > 0 {
			return station.Errorf(station.ErrInvalid, "bad_usage", "--without is for --from, which restores a whole server.")
		}
		a, err := connect()
		if err != nil {
			return err
		}
		r := restorer{api: a, in: os.Stdin, out: cmd.OutOrStdout()}
		switch {
		case q.undo != "":
			return r.undo(cmd.Context(), q.undo)
		case len(args) == 0:
			return r.list(cmd.Context())
		}
		return r.restore(cmd.Context(), args[0], q)
	}
	return c
}

// hideSettings keeps those settings of a server out of the help that do not matter
// to a restore.
func hideSettings(c *cobra.Command) {
	all := flag.NewFlagSet("settings", flag.ContinueOnError)
	config.Register(all)
	all.VisitAll(func(f *flag.Flag) {
		if f.Name != "data" && f.Name != "config" && !strings.HasPrefix(f.Name, "s3-") {
			_ = c.Flags().MarkHidden(f.Name) // it fails for none that is there
		}
	})
}

type restoreFlags struct {
	snapshot, undo, from, keyFile string
	inPlace, exact, yes           bool
	without                       []string
}

// restorer restores as a person.
type restorer struct {
	api *api
	in  *os.File
	out io.Writer
}

const workstationPath = "/workstation"

func (r *restorer) snapshots(ctx context.Context) ([]station.Snapshot, error) {
	var b struct{ Snapshots []station.Snapshot }
	err := r.api.call(ctx, "GET", workstationPath+"/backups", nil, &b)
	return b.Snapshots, err
}

// list shows the moments there are, and what was restored lately.
func (r *restorer) list(ctx context.Context) error {
	snaps, err := r.snapshots(ctx)
	if err != nil {
		return err
	}
	if len(snaps) == 0 {
		fmt.Fprintln(r.out, "There is no snapshot yet.")
	}
	for _, s := range snaps {
		note := strings.Join(s.Tags, ", ")
		if s.Verified.IsZero() {
			note += ", not verified"
		}
		fmt.Fprintf(r.out, "%-10.10s %s  %9d files %10s  %d changed  %s\n", printable(s.ID), s.At.Local().Format("2006-01-02 15:04:05"), s.Files, sizeText(s.Bytes), s.Changed, printable(note))
	}
	var done []station.Restore
	if err := r.api.call(ctx, "GET", workstationPath+"/restores", nil, &done); err != nil {
		return err
	}
	for i, d := range done {
		if i == 0 {
			fmt.Fprintln(r.out, "\nRestores:")
		}
		fmt.Fprintf(r.out, "%s %s  %s  %s of %s\n", printable(d.ID), d.Started.Local().Format("2006-01-02 15:04"), printable(d.State), printable(d.Request.Path), printable(d.Snapshot))
	}
	return nil
}

// restore shows what would be done, asks where something is replaced, and does it.
func (r *restorer) restore(ctx context.Context, path string, q restoreFlags) error {
	snaps, err := r.snapshots(ctx)
	if err != nil {
		return err
	}
	snap, err := chooseSnapshot(snaps, q.snapshot, time.Now())
	if err != nil {
		return err
	}
	p, err := homePath(strings.TrimPrefix(path, ":"))
	if err != nil {
		return err
	}
	req := station.RestoreRequest{Path: p.String(), Where: "beside", Exact: q.exact}
	if q.inPlace {
		req.Where = "in_place"
	}
	at := workstationPath + "/backups/" + snap.ID
	var pre station.RestorePreview
	if err := r.api.call(ctx, "POST", at+"/preview", req, &pre); err != nil {
		return err
	}
	fmt.Fprintf(r.out, "%s as it was at %s (%s)\n", req.Path, snap.At.Local().Format("2006-01-02 15:04:05"), printable(snap.ID))
	if pre.Refused != "" {
		return station.Errorf(station.ErrNoSpace, "refused", "%s", printable(pre.Refused))
	}
	if q.inPlace {
		if r.show(pre); pre.Adds+pre.Replace+pre.Trash == 0 {
			fmt.Fprintln(r.out, "Nothing differs.")
			return nil
		}
		if err := r.ask(q.yes); err != nil {
			return err
		}
	}
	var run station.Restore
	if err := r.api.call(ctx, "POST", at+"/restores", req, &run); err != nil {
		return err
	}
	return r.follow(ctx, run)
}

// shownChanges is how many changes are shown before a question.
const shownChanges = 20

func (r *restorer) show(p station.RestorePreview) {
	sign := map[string]string{"add": "+", "replace": "~", "trash": "-", "mode": "m"}
	for i, c := range p.Changes {
		if i == shownChanges {
			fmt.Fprintf(r.out, "  … and %d more\n", p.Adds+p.Replace+p.Trash-shownChanges)
			break
		}
		fmt.Fprintf(r.out, "  %s %s\n", sign[c.Change], printable(c.Path))
	}
	fmt.Fprintf(r.out, "%d added, %d replaced, %d to the trash, %d the same; %s to fetch\n", p.Adds, p.Replace, p.Trash, p.Same, sizeText(p.Bytes))
}

func (r *restorer) ask(yes bool) error {
	if yes {
		return nil
	}
	if !term.IsTerminal(int(r.in.Fd())) {
		return station.Errorf(station.ErrInvalid, "not_asked", "Nobody can be asked whether to replace this; add --yes.")
	}
	fmt.Fprint(r.out, "What is replaced goes to the trash. Go on? [y/N] ")
	line, err := bufio.NewReader(r.in).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err != nil || answer != "y" && answer != "yes" {
		return station.Errorf(station.ErrInvalid, "not_wanted", "Nothing was changed.")
	}
	return nil
}

// follow shows how a restore is until it ended.
func (r *restorer) follow(ctx context.Context, run station.Restore) error {
	live := r.out == io.Writer(os.Stdout) && term.IsTerminal(int(os.Stdout.Fd()))
	for run.State == "running" {
		select {
		case <-ctx.Done():
			fmt.Fprintf(r.out, "\nIt goes on on the server; see `staithe restore`.\n")
			return exitCode(1)
		case <-time.After(300 * time.Millisecond):
		}
		if err := r.api.call(ctx, "GET", workstationPath+"/restores/"+run.ID, nil, &run); err != nil {
			return err
		}
		if live {
			fmt.Fprintf(r.out, "\r%s of %s ", sizeText(run.Done), sizeText(run.Total))
		}
	}
	if live {
		fmt.Fprint(r.out, "\r\x1b[K")
	}
	if run.Trouble != "" {
		if run.Undo {
			fmt.Fprintf(r.out, "What was done can be taken back: staithe restore --undo %s\n", printable(run.ID))
		}
		return station.Errorf(station.ErrUnavailable, "restore_failed", "%s", printable(run.Trouble))
	}
	if run.Into != "" {
		fmt.Fprintf(r.out, "It is at %s\n", printable(run.Into))
		return nil
	}
	fmt.Fprintf(r.out, "Done. To take it back: staithe restore --undo %s\n", printable(run.ID))
	return nil
}

func (r *restorer) undo(ctx context.Context, id string) error {
	if !station.ID(id).Valid() {
		return station.Errorf(station.ErrInvalid, "bad_id", "That is no restore's id; `staithe restore` lists them.")
	}
	var run station.Restore
	if err := r.api.call(ctx, "POST", workstationPath+"/restores/"+id+"/undo", nil, &run); err != nil {
		return err
	}
	if run.Trouble != "" {
		return station.Errorf(station.ErrUnavailable, "undo_failed", "%s", printable(run.Trouble))
	}
	fmt.Fprintln(r.out, "It is as it was before; what the restore brought is in the trash.")
	return nil
}

// printable is text of a server's for a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '\uFFFD'
		}
		return r
	}, s)
}

func sizeText(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for ; f >= 1024 && i < 4; i++ {
		f /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[i])
}
