package restic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Found is a node as Look tells it. Path and Target are inexact as in Node.
type Found struct {
	Path   string    `json:"path"` // from the top; "": the top itself
	Type   string    `json:"type"` // as in Node
	Mode   uint32    `json:"mode"` // Go's fs.FileMode
	Size   int64     `json:"size"`
	MTime  time.Time `json:"mtime"`
	Target string    `json:"linktarget"`
}

// Look tells each of a path of a snapshot and all that is below it, with the
// targets of links, in one run of restic. A folder comes before what is in it.
// When each fails, Look does so with its error.
func (r *Repo) Look(ctx context.Context, snapshot, path string, each func(Found) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pr, pw := io.Pipe()
	parsed := make(chan error, 1)
	go func() {
		err := parseFound(pr, each)
		if err != nil {
			cancel(err)
		}
		_, _ = io.Copy(io.Discard, pr) // restic must not wait for who reads no more
		parsed <- err
	}()
	err := r.run(ctx, job{args: []string{"find", "--json", "--snapshot", snapshot, Pattern(path)}, out: pw})
	pw.Close()
	if perr := <-parsed; perr != nil && err == nil {
		err = perr
	}
	return err
}

// parseFound reads what restic find says: a list with one thing per snapshot.
func parseFound(in io.Reader, each func(Found) error) error {
	d := json.NewDecoder(in)
	if err := expect(d, json.Delim('[')); err != nil {
		return err
	}
	for d.More() {
		if err := expect(d, json.Delim('{')); err != nil {
			return err
		}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return unreadable(err)
			}
			if key != "matches" {
				var other any
				if err := d.Decode(&other); err != nil {
					return unreadable(err)
				}
				continue
			}
			if err := parseMatches(d, each); err != nil {
				return err
			}
		}
		if err := expect(d, json.Delim('}')); err != nil {
			return err
		}
	}
	return expect(d, json.Delim(']'))
}

func parseMatches(d *json.Decoder, each func(Found) error) error {
	if err := expect(d, json.Delim('[')); err != nil {
		return err
	}
	for d.More() {
		var f Found
		if err := d.Decode(&f); err != nil {
			return unreadable(err)
		}
		below, ok := fromTop(f.Path)
		if !ok {
			continue
		}
		f.Path = strings.TrimLeft(below, "/")
		if err := each(f); err != nil {
			return err
		}
	}
	return expect(d, json.Delim(']'))
}

func expect(d *json.Decoder, want json.Token) error {
	got, err := d.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && got != want {
		err = fmt.Errorf("%v is not %v", got, want)
	}
	if err != nil {
		return unreadable(err)
	}
	return nil
}

func unreadable(err error) error { return fmt.Errorf("read a snapshot's listing: %w", err) }
