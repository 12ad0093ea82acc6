package main

import (
	"cmp"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"staithe/internal/station"
	"staithe/internal/transfer"
	objects "staithe/internal/transfer/bucket"
)

func importCommand() *cobra.Command {
	var from, into string
	var replace bool
	c := &cobra.Command{
		Use:   "import --from s3://BUCKET[/PREFIX]",
		Short: "Bring a bucket of plain files into your home",
		Long: `Bring the objects of an S3-compatible bucket into your home, as files under their
keys, with the modes, times and links that TigrisFS, GeeseFS and s3fs keep in user
metadata. The bucket is read from here; its credentials do not reach the server.

What is in the home already stays, and is listed when it differs; with --replace
it goes to the trash. The same command again brings only what is missing. Keys that
cannot be a path in a home are listed and left out.

The store is set by the environment: S3_ENDPOINT, S3_ACCESS_KEY_ID,
S3_SECRET_ACCESS_KEY, S3_REGION (auto), S3_PATH_STYLE (false).

  staithe import --from s3://workspaces/ada
  staithe import --from s3://old-bucket --into old`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := objects.Options{Replace: replace}
			var err error
			if o.From, err = place(from); err != nil {
				return err
			}
			if o.Into, err = homePath(into); err != nil {
				return err
			}
			a, err := connect()
			if err != nil {
				return err
			}
			o.To = a.client()
			show := term.IsTerminal(int(os.Stderr.Fd()))
			say := func(format string, args ...any) {
				if show {
					fmt.Fprintf(cmd.ErrOrStderr(), "\r\x1b[K"+format, args...)
				}
			}
			o.Listed = func(n int) {
				if n%1000 == 0 {
					say("%d objects so far", n)
				}
			}
			o.Sent = func(files int, bytes, of int64) { say("%d files, %s of %s", files, sizeText(bytes), sizeText(of)) }
			r, err := objects.Import(cmd.Context(), o)
			say("")
			return imported(cmd, r, err)
		},
	}
	c.Flags().StringVar(&from, "from", "", "the bucket, as s3://BUCKET[/PREFIX]")
	c.Flags().StringVar(&into, "into", ".", "the `folder` of the home to bring it into")
	c.Flags().BoolVar(&replace, "replace", false, "what is there and differs goes to the trash")
	return c
}

// place is a bucket with what the environment says of its store.
func place(from string) (p objects.Place, err error) {
	if p.Bucket, p.Prefix, err = objects.ParsePlace(from); err != nil {
		return p, err
	}
	if p.PathStyle, err = strconv.ParseBool(cmp.Or(os.Getenv("S3_PATH_STYLE"), "false")); err != nil {
		return p, station.Errorf(station.ErrInvalid, "bad_setting", "S3_PATH_STYLE is true or false.")
	}
	p.Endpoint, p.Region = os.Getenv("S3_ENDPOINT"), os.Getenv("S3_REGION")
	p.AccessKey, p.SecretKey = os.Getenv("S3_ACCESS_KEY_ID"), os.Getenv("S3_SECRET_ACCESS_KEY")
	return p, nil
}

// imported says what came of it. Names are only shown quoted.
func imported(cmd *cobra.Command, r objects.Result, err error) error {
	out := cmd.OutOrStdout()
	for _, x := range r.Refused {
		fmt.Fprintf(out, "left out: %s: %s\n", transfer.Quote(x.Key), x.Why)
	}
	for _, p := range r.Kept {
		fmt.Fprintf(out, "differs, and stays: %s\n", transfer.Quote(string(p)))
	}
	fmt.Fprintf(out, "%d files came, %s; %d were there already; %d left out\n", r.Files, sizeText(r.Bytes), r.Same, len(r.Refused))
	return err
}
