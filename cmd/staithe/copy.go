package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"staithe/internal/files"
	"staithe/internal/station"
	"staithe/internal/transfer"
)

// client is connect's for whole files.
func (a *api) client() *transfer.Client { return transfer.New(a.base, a.token) }

// job is a copy with its progress on standard error, when that is a terminal. Call
// end.
func (a *api) job(cmd *cobra.Command) (j *transfer.Job, end func()) {
	j = &transfer.Job{Client: a.client()}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		j.Progress = transfer.NewProgress(os.Stderr)
	}
	j.Warn = func(line string) { j.Progress.Print(cmd.ErrOrStderr(), "staithe: "+line) }
	j.Client.Say = func(lost bool) {
		note := map[bool]string{true: "connection lost; trying again"}[lost]
		if j.Progress.Note(note); j.Progress == nil && lost {
			fmt.Fprintln(cmd.ErrOrStderr(), "staithe: "+note)
		}
	}
	if cache, err := os.UserCacheDir(); err == nil {
		j.Cache = filepath.Join(cache, "staithe", "uploads")
	}
	return j, j.Progress.End
}

// remote is a path after a colon; ok is false without one.
func remote(arg string) (p files.Path, ok bool, err error) {
	text, ok := strings.CutPrefix(arg, ":")
	if !ok {
		return "", false, nil
	}
	p, err = homePath(text)
	return p, true, err
}

// homePath is what a person types for a path in a home: from its top, also with ~
// or ./ before it, and a slash at its end.
func homePath(text string) (files.Path, error) {
	if text == "~" {
		text = "."
	}
	text = strings.TrimPrefix(text, "~/")
	if strings.HasPrefix(text, "/") {
		return "", station.Errorf(station.ErrInvalid, "bad_path", "%s is no path in the home; write it from the home's top, without a slash before it.", transfer.Quote(text))
	}
	text = path.Clean(text)
	if text == ".." || strings.HasPrefix(text, "../") {
		return "", station.Errorf(station.ErrInvalid, "bad_path", "%s leads out of the home.", transfer.Quote(text))
	}
	return files.Path(text).Clean()
}

func copyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cp [-r] SOURCE... TARGET",
		Short: "Copy files between this machine and your home",
		Long: `Copy files to your home on the server, or from it. A path there is written :path,
from the home's top; : is the home itself. A file that is there is replaced.
Modes and times are kept, links stay links, names may have any bytes. What breaks
off goes on by itself; after ctrl-c, the same command goes on where it was.

  staithe cp report.pdf :               to the top of the home
  staithe cp -r site :www               the folder site becomes www, or www/site
  staithe cp :results/big.tar .         back to here`,
		Args: cobra.MinimumNArgs(2),
	}
	recursive := c.Flags().BoolP("recursive", "r", false, "copy folders with all in them")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		target, sources := args[len(args)-1], args[:len(args)-1]
		to, up, err := remote(target)
		if err != nil {
			return err
		}
		for _, src := range sources {
			if _, isRemote, err := remote(src); err != nil {
				return err
			} else if isRemote == up {
				return station.Errorf(station.ErrInvalid, "bad_target", "Give one side as :path in the home, and the other as a path here.")
			}
		}
		a, err := connect()
		if err != nil {
			return err
		}
		j, end := a.job(cmd)
		defer end()
		k := copier{j, *recursive, len(sources) > 1 || strings.HasSuffix(target, "/")}
		for _, src := range sources {
			if up {
				err = k.upload(cmd.Context(), src, to)
			} else {
				err = k.download(cmd.Context(), src, target)
			}
			if err != nil {
				return interrupted(cmd.Context(), err)
			}
		}
		return nil
	}
	return c
}

// interrupted is err, or what to do after ctrl-c.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return station.Errorf(station.ErrUnavailable, "interrupted", "Interrupted; the same command goes on where it was.")
}

// copier copies the sources of one command.
type copier struct {
	*transfer.Job
	recursive bool
	into      bool // the target must be a folder
}

func needsR(name string) error {
	return station.Errorf(station.ErrInvalid, "is_a_folder", "%s is a folder; give -r to copy it with all in it.", transfer.Quote(name))
}

func noFolder(name string) error {
	return station.Errorf(station.ErrInvalid, "not_a_folder", "%s is no folder; several files need one to go to.", transfer.Quote(name))
}

func (k copier) upload(ctx context.Context, src string, to files.Path) error {
	info, err := os.Stat(src)
	if err != nil {
		return fmt.Errorf("%s: %w", transfer.Quote(src), bare(err))
	}
	switch {
	case info.IsDir() && !k.recursive:
		return needsR(src)
	case !info.IsDir() && !info.Mode().IsRegular(): // a FIFO would never end
		return station.Errorf(station.ErrInvalid, "not_a_file", "%s is neither file nor folder.", transfer.Quote(src))
	}
	there, err := k.Client.Follow(ctx, to)
	isFolder := err == nil && there.Kind == files.KindFolder
	switch {
	case isMissing(err): // a folder that is named as one will be made
		isFolder = k.into
	case err != nil:
		return err
	case k.into && !isFolder:
		return noFolder(":" + string(to))
	}
	abs, err := filepath.Abs(src) // . has a name too
	if err != nil {
		return err
	}
	dst, err := files.Path(transfer.Into(string(to), isFolder, filepath.Base(abs))).Clean()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return k.UploadTree(ctx, src, dst)
	}
	return k.UploadFile(ctx, src, dst)
}

func (k copier) download(ctx context.Context, src, target string) error {
	from, _, err := remote(src)
	if err != nil {
		return err
	}
	e, err := k.Client.Follow(ctx, from)
	if err != nil {
		return err
	}
	if e.Kind == files.KindFolder && !k.recursive {
		return needsR(src)
	}
	info, err := os.Stat(target)
	isFolder := err == nil && info.IsDir()
	if k.into && !isFolder {
		return noFolder(target)
	}
	dst := transfer.Into(target, isFolder, from.Base())
	if e.Kind == files.KindFolder {
		return k.DownloadTree(ctx, from, dst)
	}
	return k.DownloadFile(ctx, from, dst)
}

func syncCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "sync SOURCE TARGET",
		Short: "Make a folder in your home like one here, or the other way round",
		Long: `Bring what is in the folder SOURCE to the folder TARGET, one of which is a :path in
your home. Files that have the same content, by SHA-256, are not sent. What only
TARGET has stays, unless --delete is given; in the home it goes to the trash.`,
		Example: "  staithe sync site :www\n  staithe sync --delete :results results",
		Args:    cobra.ExactArgs(2),
	}
	var o transfer.SyncOptions
	c.Flags().BoolVar(&o.Delete, "delete", false, "take away what SOURCE has not")
	c.Flags().BoolVarP(&o.DryRun, "dry-run", "n", false, "only say what would be done")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		from, down, err := remote(args[0])
		if err != nil {
			return err
		}
		to, up, err := remote(args[1])
		if err != nil {
			return err
		}
		if up == down {
			return station.Errorf(station.ErrInvalid, "bad_target", "Give one side as :path in the home, and the other as a path here.")
		}
		a, err := connect()
		if err != nil {
			return err
		}
		j, end := a.job(cmd)
		defer end()
		var same, sent, gone int64
		o.Done = func(a, b, c int64) { same, sent, gone = a, b, c }
		if o.DryRun {
			o.Say = func(what, rel string) {
				j.Progress.Print(cmd.OutOrStdout(), fmt.Sprintf("%-7s %s", what, transfer.Quote(rel)))
			}
		}
		if up {
			err = j.SyncUp(cmd.Context(), args[0], to, o)
		} else {
			err = j.SyncDown(cmd.Context(), from, args[1], o)
		}
		if err != nil {
			return interrupted(cmd.Context(), err)
		}
		j.Progress.Print(cmd.OutOrStdout(), fmt.Sprintf("%d the same, %d sent, %d taken away", same, sent, gone))
		return nil
	}
	return c
}
