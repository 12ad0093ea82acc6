package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"staithe/internal/config"
	"staithe/internal/image"
	"staithe/internal/station"
)

func imageCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "image",
		Short: "Manage base images: what sessions have instead of the host's /usr",
		Long: `Manage base images on the server's own machine, whether the server runs or not.

A session class whose base is an image gives its sessions that image's root file
system, shared read-only, with a writable layer per session on top: there a
person can be root and install packages. Without an image a session sees the
host's own /usr, read-only.

tools/image/build.sh builds a good default one without a registry.`,
	}
	c.AddCommand(imageImportCommand(), imagePullCommand(), imageListCommand(), imageRemoveCommand())
	return c
}

// openImages opens the images of the data directory that the flags name.
func openImages(loader *config.Loader, limits image.Limits) (*image.Store, error) {
	cfg, err := loader.Load(os.Getenv)
	if err != nil {
		return nil, err
	}
	s, err := image.Open(cfg.Data, image.Options{Limits: limits, InUse: inUseBy(cfg.Data)})
	if err != nil {
		return nil, diskError("open the images", err)
	}
	return s, nil
}

// inUseBy says whether a sandbox of that data directory stands on a root file
// system, going by what its folder says: each notes its image there. It is true
// when that cannot be told.
func inUseBy(data string) func(rootfs string) bool {
	return func(rootfs string) bool {
		version := filepath.Dir(rootfs)
		// NAME/VERSION alone: in JSON the path before it may be written otherwise.
		rootfs = filepath.Join(filepath.Base(filepath.Dir(version)), filepath.Base(version), filepath.Base(rootfs))
		boxes, err := os.ReadDir(filepath.Join(data, "sandboxes"))
		if errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if err != nil {
			return true
		}
		for _, box := range boxes {
			for _, name := range []string{"image", "record.json", "config.json"} {
				b, err := os.ReadFile(filepath.Join(data, "sandboxes", box.Name(), name))
				if err != nil && !errors.Is(err, fs.ErrNotExist) || bytes.Contains(b, []byte(rootfs)) {
					return true
				}
			}
		}
		return false
	}
}

// maxSizeFlag is the flag with which a person moves the limit; sizeLimit reads it.
func maxSizeFlag(c *cobra.Command) *int64 {
	return c.Flags().Int64("max-size", image.DefaultLimits.Bytes/1e9, "refuse an image that unpacks to more than so many `gigabytes`")
}

func sizeLimit(gigabytes int64) (image.Limits, error) {
	const most = 1_000_000
	if gigabytes < 1 || gigabytes > most {
		return image.Limits{}, station.Errorf(station.ErrInvalid, "bad_size", "--max-size is 1 to %d gigabytes, not %d.", most, gigabytes)
	}
	return image.Limits{Bytes: gigabytes * 1e9}, nil
}

func imageImportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "import NAME FILE|DIR",
		Short: "Make an image of an archive or a folder",
		Long: `Make the image NAME of one of these:

  an OCI image layout, as a folder or a tar (skopeo, buildah, docker save since 25)
  the archive of docker save
  the tar of a root file system (mmdebstrap, docker export)
  the folder of a root file system (debootstrap)

A tar may be packed with gzip or zstd. An image of that name is replaced; sessions
that run on it keep what they have, and get the new one when they wake next.

Whatever the archive holds, it is unpacked inside the data directory or refused,
and then nothing of it stays.`,
		Example: `  staithe image import debian .cache/image/default.tar.zst
  docker save debian:bookworm | zstd > debian.tar.zst && staithe image import debian debian.tar.zst`,
		Args: cobra.ExactArgs(2),
	}
	loader := configFlags(c)
	most := maxSizeFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		limits, err := sizeLimit(*most)
		if err != nil {
			return err
		}
		s, err := openImages(loader, limits)
		if err != nil {
			return err
		}
		return showProgress(cmd, func(ctx context.Context, tell func(image.Progress)) (image.Image, error) {
			return s.Import(ctx, args[0], args[1], tell)
		})
	}
	return c
}

func imagePullCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "pull NAME REFERENCE",
		Short: "Make an image of one in a registry",
		Long: `Make the image NAME of one in an OCI registry. For a private one log in first with
docker login or podman login: what they stored is read.

Nothing pulls by itself: to have what is new under a tag, pull again.`,
		Example: `  staithe image pull debian debian:bookworm
  staithe image pull tools localhost:5000/tools:3`,
		Args: cobra.ExactArgs(2),
	}
	loader := configFlags(c)
	var opts image.PullOptions
	most := maxSizeFlag(c)
	c.Flags().BoolVar(&opts.PlainHTTP, "plain-http", false, "allow http without encryption; a registry on this machine may speak it anyway")
	c.Flags().StringVar(&opts.Platform, "platform", "", "take this `variant`, such as linux/arm64/v8; other machines' images are refused")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		limits, err := sizeLimit(*most)
		if err != nil {
			return err
		}
		s, err := openImages(loader, limits)
		if err != nil {
			return err
		}
		return showProgress(cmd, func(ctx context.Context, tell func(image.Progress)) (image.Image, error) {
			return s.Pull(ctx, args[0], args[1], opts, tell)
		})
	}
	return c
}

func imageListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the images",
		Args:  cobra.NoArgs,
	}
	loader := configFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := openImages(loader, image.Limits{})
		if err != nil {
			return err
		}
		all, bad := s.List()
		if len(all) == 0 && bad == nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "There is no image yet; `staithe image import --help` says how to make one.")
			return nil
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tVERSION\tSIZE\tFILES\tCREATED\tSOURCE")
		for _, i := range all {
			m := i.Manifest
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", i.Name, i.Version, image.Bytes(m.Size), m.Files, m.Created.Local().Format("2006-01-02 15:04"), inert(m.Source))
		}
		return errors.Join(w.Flush(), bad)
	}
	return c
}

// inert shows a name with nothing in it that a terminal obeys.
func inert(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

func imageRemoveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove an image that no session runs on",
		Args:  cobra.ExactArgs(1),
	}
	loader := configFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := openImages(loader, image.Limits{})
		if err != nil {
			return err
		}
		if err := s.Remove(args[0]); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "removed: %s\n", args[0])
		return nil
	}
	return c
}

// showProgress runs an import, says how far it is on a terminal's standard
// error, and in the end what there is.
func showProgress(cmd *cobra.Command, do func(context.Context, func(image.Progress)) (image.Image, error)) error {
	line := &progressLine{w: cmd.ErrOrStderr(), live: term.IsTerminal(int(os.Stderr.Fd()))}
	img, err := do(cmd.Context(), line.show)
	line.clear()
	if errors.Is(err, context.Canceled) {
		return station.Errorf(station.ErrInvalid, "stopped", "Stopped; nothing was kept of it, and what was there before is in force.")
	}
	if err != nil {
		return err
	}
	m := img.Manifest
	out := cmd.OutOrStdout()
	if img.Same {
		fmt.Fprintf(out, "image: %s is at this version already\n", img.Name)
	}
	fmt.Fprintf(out, "image: %s\nversion: %s\ndigest: %s\nsize: %s in %d files\n", img.Name, img.Version, m.Digest, image.Bytes(m.Size), m.Files)
	for _, what := range slices.Sorted(maps.Keys(m.LeftOut)) {
		fmt.Fprintf(out, "left out: %d %s\n", m.LeftOut[what], what)
	}
	if img.Older > 0 {
		fmt.Fprintf(out, "older versions kept for sessions that run on them: %d\n", img.Older)
	}
	return nil
}

// progressLine is one line that is written over, or, where that is not
// possible, a line per step.
type progressLine struct {
	w    io.Writer
	live bool
	step string
}

func (l *progressLine) show(p image.Progress) {
	step := p.Step
	if p.Layers > 1 && p.Step != "writing to disk" {
		step = fmt.Sprintf("%s layer %d of %d", p.Step, p.Layer, p.Layers)
	}
	if !l.live {
		if step != l.step {
			fmt.Fprintln(l.w, step)
		}
		l.step = step
		return
	}
	text := step
	if p.Done > 0 {
		text += ": " + image.Bytes(p.Done)
	}
	if p.Total > 0 {
		text += " of " + image.Bytes(p.Total)
	}
	if p.Files > 0 {
		text += fmt.Sprintf(", %d files", p.Files)
	}
	fmt.Fprintf(l.w, "\r\x1b[K%s", text)
}

func (l *progressLine) clear() {
	if l.live {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
}
