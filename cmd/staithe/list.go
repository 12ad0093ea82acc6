package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"staithe/internal/files"
	"staithe/internal/station"
	"staithe/internal/transfer"
)

func isMissing(err error) bool { return errors.Is(err, station.ErrNotFound) }

// bare is an error of a local file without its name as it is.
func bare(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

func listCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "ls [PATH...]",
		Short: "List a folder of your home",
		Long: `List folders and files of your home; paths are from its top. On a terminal a name
with anything unusual in it is quoted as a shell takes it; into a pipe names go as
they are, one on a line, or with -0 each before a zero byte.`,
	}
	var l lister
	c.Flags().BoolVarP(&l.all, "all", "a", false, "names that begin with a dot, too")
	c.Flags().BoolVarP(&l.long, "long", "l", false, "kind and mode, size, time")
	c.Flags().BoolVarP(&l.zero, "null", "0", false, "end names with a zero byte")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := connect()
		if err != nil {
			return err
		}
		if len(args) == 0 {
			args = []string{"."}
		}
		f, isFile := cmd.OutOrStdout().(*os.File)
		l.quote = isFile && term.IsTerminal(int(f.Fd()))
		l.out = bufio.NewWriter(cmd.OutOrStdout())
		for i, arg := range args {
			if err := l.list(cmd.Context(), a.client(), arg, i, len(args) > 1); err != nil {
				return errors.Join(err, l.out.Flush())
			}
		}
		return l.out.Flush()
	}
	return c
}

// lister writes lists.
type lister struct {
	all, long, zero, quote bool
	out                    *bufio.Writer
}

func (l *lister) list(ctx context.Context, c *transfer.Client, arg string, i int, many bool) error {
	p, ok, err := remote(arg)
	if !ok && err == nil {
		p, err = homePath(arg)
	}
	if err != nil {
		return err
	}
	e, err := c.Follow(ctx, p)
	if err != nil {
		return err
	}
	if e.Kind != files.KindFolder {
		l.entry(e, string(p))
		return nil
	}
	if many {
		if i > 0 {
			fmt.Fprintln(l.out)
		}
		fmt.Fprintf(l.out, "%s:\n", transfer.Quote(string(p)))
	}
	return c.List(ctx, p, l.all, func(e files.Entry) error {
		l.entry(e, string(e.Name))
		return nil
	})
}

var kindLetters = map[files.Kind]string{files.KindFile: "-", files.KindFolder: "d", files.KindSymlink: "l",
	files.KindFIFO: "p", files.KindSocket: "s", files.KindDevice: "c"}

func (l *lister) entry(e files.Entry, name string) {
	show := func(s string) string {
		if l.quote || l.long && !l.zero {
			return transfer.Quote(s)
		}
		return s
	}
	if l.long {
		fmt.Fprintf(l.out, "%s%s %10s %s ", kindLetters[e.Kind], fs.FileMode(e.Mode & 0o777).String()[1:], transfer.Size(e.Size),
			e.MTime.Local().Format("2006-01-02 15:04"))
	}
	l.out.WriteString(show(name))
	if l.long && e.Kind == files.KindSymlink {
		l.out.WriteString(" -> " + show(string(e.Target)))
	}
	if l.zero {
		l.out.WriteByte(0)
	} else {
		l.out.WriteByte('\n')
	}
}

func catCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cat PATH...",
		Short: "Write files of your home to standard output",
		Long: `Write files of your home to standard output; paths are from its top. On a terminal
what would control it is shown as \033 and the like, unless --raw is given.`,
		Args: cobra.MinimumNArgs(1),
	}
	raw := c.Flags().Bool("raw", false, "on a terminal, too, write every byte as it is")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := connect()
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) && !*raw {
			out = &visible{out: out}
		}
		for _, arg := range args {
			p, ok, err := remote(arg)
			if !ok && err == nil {
				p, err = homePath(arg)
			}
			if err != nil {
				return err
			}
			if err := a.client().Cat(cmd.Context(), p, out); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// visible writes text for a terminal that has nothing to obey in it.
type visible struct {
	out  io.Writer
	rest []byte // the beginning of a character
}

func (v *visible) Write(p []byte) (int, error) {
	in := append(v.rest, p...)
	out := make([]byte, 0, len(in))
	for len(in) > 0 {
		if !utf8.FullRune(in) {
			break
		}
		r, n := utf8.DecodeRune(in)
		if r == '\n' || r == '\t' || !transfer.Controls(r) && (r != utf8.RuneError || n > 1) {
			out = append(out, in[:n]...)
		} else {
			for _, c := range in[:n] {
				out = fmt.Appendf(out, `\%03o`, c)
			}
		}
		in = in[n:]
	}
	v.rest = append([]byte(nil), in...)
	if _, err := v.out.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
