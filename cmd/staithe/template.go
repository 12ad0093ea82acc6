package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/files/template"
	"staithe/internal/station"
)

// What a template may hold.
const (
	templateBytes = 1 << 30
	templateFiles = 100_000
)

// templateState is what DATA/templates/USER.json says: a home begins only once.
type templateState struct {
	State  string           `json:"state"` // chosen (for a home to come), pending, done, failed
	Source string           `json:"source"`
	At     time.Time        `json:"at"`
	Why    string           `json:"why,omitempty"` // failed: what its owner is told
	Came   *files.Extracted `json:"came,omitempty"`
}

// templates fills new homes, beside all else: nobody waits for it, and a home
// whose template failed is as usable as any.
type templates struct {
	source string
	dir    string
	files  *homeFiles
	log    *slog.Logger
	work   sync.WaitGroup
	stop   context.Context
	going  sync.Map // station.ID to *atomic.Int64, the bytes that came
	ended  sync.Map // station.ID to templateState, of those that could not be noted yet
}

func templatesIn(data string) string { return filepath.Join(data, "templates") }

func (t *templates) file(user station.ID) string { return filepath.Join(t.dir, string(user)+".json") }

func (t *templates) keep(user station.ID, s templateState) error {
	if s.At.IsZero() {
		s.At = time.Now().UTC()
	}
	b, err := json.MarshalIndent(s, "", "\t")
	if err == nil {
		err = os.MkdirAll(t.dir, 0o700)
	}
	if err == nil {
		err = writeWhole(t.file(user), b)
	}
	if err != nil {
		return fmt.Errorf("note a template's state: %w", err)
	}
	return nil
}

// of is what a user's new home begins with; "" for the host's skeleton alone.
func (t *templates) of(user station.ID) string {
	s, err := t.noted(user)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.log.Error("the template chosen for a user cannot be read", "user", user, "err", err)
	}
	if err == nil && s.State == "chosen" {
		return s.Source
	}
	return t.source
}

// made is fleet.Options.HomeMade.
func (t *templates) made(user station.ID) {
	source := t.of(user)
	if source == "" {
		return
	}
	if err := t.keep(user, templateState{State: "pending", Source: source}); err != nil {
		t.log.Error("a new home begins without its template", "user", user, "err", err)
		return
	}
	t.work.Go(func() { t.fill(user, source) })
}

// noted is what became of a user's template last.
func (t *templates) noted(user station.ID) (s templateState, err error) {
	if s, ok := t.ended.Load(user); ok {
		return s.(templateState), nil
	}
	b, err := os.ReadFile(t.file(user))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}

// again goes on with what a server that ended left undone.
func (t *templates) again() {
	list, err := os.ReadDir(t.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.log.Error("templates left undone cannot be found", "err", err)
	}
	for _, e := range list {
		user := station.ID(strings.TrimSuffix(e.Name(), ".json"))
		if !user.Valid() {
			continue
		}
		if s, err := t.noted(user); err == nil && s.State == "pending" {
			t.work.Go(func() { t.fill(user, s.Source) })
		}
	}
}

// Template is gateway.Templates'.
func (t *templates) Template(ctx context.Context, user station.ID) (out station.HomeTemplate, err error) {
	if _, err := t.files.fleet.HomePlace(ctx, user); err != nil {
		return out, err
	}
	s, err := t.noted(user)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && s.State == "chosen":
		return station.HomeTemplate{State: "none"}, nil
	case err != nil:
		return out, fmt.Errorf("read what became of a home's template: %w", err)
	}
	out = station.HomeTemplate{State: s.State, Source: template.Shown(s.Source), Trouble: s.Why, At: s.At}
	if s.Came != nil {
		out.Files, out.Kept = int64(s.Came.Files), int64(s.Came.Kept)
	}
	if n, ok := t.going.Load(user); ok && s.State == "pending" {
		out.Fetched = n.(*atomic.Int64).Load()
	}
	return out, nil
}

// counted counts what is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// troubleOf is what a home's owner is told of a template that failed; what no part
// has a sentence for may say things of the server.
func troubleOf(err error) string {
	if p, ok := errors.AsType[*station.Problem](err); ok {
		return p.Sentence
	}
	return "The template could not be unpacked; tell the administrator, whose log says why, and put in yourself what you miss."
}

func (t *templates) fill(user station.ID, source string) {
	var n atomic.Int64
	t.going.Store(user, &n)
	defer t.going.Delete(user)
	came, err := t.extract(t.stop, user, source, &n)
	// The host's skeleton comes after it, as a template may have its own dotfiles.
	if _, serr := t.extract(t.stop, user, "/etc/skel", new(atomic.Int64)); serr != nil && !errors.Is(serr, fs.ErrNotExist) {
		t.log.Warn("a new home has not all of the host's skeleton", "user", user, "err", serr)
	}
	if t.stop.Err() != nil {
		return // pending: the next server goes on
	}
	s := templateState{State: "done", Source: source, Came: &came}
	if err != nil {
		t.log.Error("a new home begins without its template", "user", user, "template", template.Shown(source), "err", err)
		s = templateState{State: "failed", Source: source, Why: troubleOf(err)}
	} else {
		t.log.Info("a new home has its template", "user", user, "files", came.Files, "kept", came.Kept)
	}
	t.note(user, s)
}

// noteAgain is after how long it is tried again to note a state.
const noteAgain = 10 * time.Second

// note keeps how a template ended. Where that cannot be written, as on a disk that
// the template itself filled, it is tried again: the next server would unpack it once more.
func (t *templates) note(user station.ID, s templateState) {
	s.At = time.Now().UTC()
	t.ended.Store(user, s)
	for first := true; ; first = false {
		err := t.keep(user, s)
		if err == nil {
			t.ended.Delete(user)
			return
		}
		if first {
			t.log.Error("a template's state cannot be noted; it is tried again", "user", user, "err", err)
		}
		select {
		case <-t.stop.Done():
			return
		case <-time.After(noteAgain):
		}
	}
}

func (t *templates) extract(ctx context.Context, user station.ID, source string, n *atomic.Int64) (out files.Extracted, err error) {
	helper, err := t.files.Helper(ctx, user)
	if err != nil {
		return out, err
	}
	room, err := t.files.Reserve(ctx, user, templateBytes, templateFiles)
	if err != nil {
		return out, err
	}
	defer room.Close()
	from, err := template.Open(ctx, source)
	if err != nil {
		return out, err
	}
	defer from.Close()
	q := url.Values{"path": {"."}, "format": {string(from.Format)}, "bytes": {strconv.Itoa(templateBytes)}, "files": {strconv.Itoa(templateFiles)}}
	res, err := helper.Do(ctx, filesapi.Request{Method: http.MethodPost, Path: filesapi.PathExtract, Query: q, Body: counted{from, n}, Length: -1})
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	return out, json.NewDecoder(res.Body).Decode(&out)
}

// begin lets templates be fetched, those that were left undone first.
func (p *program) begin(ctx context.Context, t *templates, homes *homeFiles) {
	t.files = homes
	t.stop, p.endFill = context.WithCancel(context.WithoutCancel(ctx))
	p.fill = t
	t.again()
}
