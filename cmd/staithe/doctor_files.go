package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"staithe/internal/hostproc"
	"staithe/internal/sandbox"
	"staithe/internal/volume/git"
	"staithe/internal/volume/jail"
)

// git says whether the page can show what git says of repositories: all else works
// without.
func (d *doctor) git() {
	program, err := git.Find()
	if err == nil {
		err = jail.Check()
	}
	if err != nil {
		fmt.Fprintf(d.out, "- git: what is changed in repositories will not be shown: %s\n", sentenceOf(err))
		return
	}
	d.line(sandbox.Check{Name: "git", OK: true, Detail: program + " tells what is changed in repositories"})
}

// files has the home's helper make something and tell of it.
func (w *walker) files(ctx context.Context) (string, error) {
	begun := time.Now()
	var made struct{ Kind string }
	if err := w.api.call(ctx, http.MethodPost, "/workstation/files/folders", map[string]any{"path": "doctor"}, &made); err != nil {
		return "", err
	}
	if err := w.api.call(ctx, http.MethodGet, "/workstation/files/stat?path=doctor", nil, &made); err != nil {
		return "", err
	}
	if made.Kind != "folder" {
		return "", fmt.Errorf("a folder that was made is a %q", made.Kind)
	}
	return fmt.Sprintf("a helper serves the home (%d ms)", time.Since(begun).Milliseconds()), nil
}

// endHelpers ends the files helpers of a private server, which outlive it.
func endHelpers(data string) error {
	records, err := filepath.Glob(filepath.Join(data, "files", "*", "record.json"))
	errs := []error{err}
	for _, path := range records {
		rec, err := hostproc.ReadRecord[hostproc.Process](path)
		if err == nil {
			err = rec.End(time.Second, 5*time.Second)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
