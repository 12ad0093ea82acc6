// Package helper is what runs in a user's files helper: the operations of
// internal/files over HTTP, for the gateway alone.
package helper

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/station"
)

// bodyMax bounds a request's JSON.
const bodyMax = 64 << 10

// server answers for one home.
type server struct {
	home   *files.Home
	health filesapi.Health
	log    *slog.Logger
}

// Handler serves a home. Safe for concurrent use.
func Handler(home *files.Home, health filesapi.Health, log *slog.Logger) http.Handler {
	s := &server{home, health, log}
	mux := http.NewServeMux()
	answer := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			out, err := f(r)
			s.answer(w, out, err)
		})
	}
	answer("GET "+filesapi.PathHealth, func(*http.Request) (any, error) { return s.health, nil })
	answer("GET "+filesapi.PathStat, s.stat)
	answer("GET "+filesapi.PathSize, s.size)
	answer("GET "+filesapi.PathList, s.list)
	mux.HandleFunc("GET "+filesapi.PathContent, s.read)
	answer("PUT "+filesapi.PathContent, s.write)
	answer("POST "+filesapi.PathFolders, posted(func(ctx context.Context, q filesapi.Folder) (any, error) {
		return home.Mkdir(ctx, q.Path, q.Mode, q.Parents)
	}))
	answer("POST "+filesapi.PathMove, posted(func(ctx context.Context, q filesapi.Move) (any, error) {
		return home.Move(ctx, q.From, q.To, q.Replace)
	}))
	answer("POST "+filesapi.PathCopy, posted(func(ctx context.Context, q filesapi.Copy) (any, error) { return home.Copy(ctx, q.From, q.To, q.Room) }))
	answer("POST "+filesapi.PathLinks, posted(func(ctx context.Context, q filesapi.Link) (any, error) {
		return home.Symlink(ctx, string(q.Target), q.Path)
	}))
	answer("POST "+filesapi.PathMode, posted(func(ctx context.Context, q filesapi.Mode) (any, error) { return home.Chmod(ctx, q.Path, q.Mode) }))
	answer("DELETE "+filesapi.PathFiles, named("path", home.Delete))
	answer("GET "+filesapi.PathTrash, func(r *http.Request) (any, error) { return home.ListTrash(r.Context()) })
	answer("POST "+filesapi.PathTrash, posted(func(ctx context.Context, q filesapi.Named) (any, error) { return home.Trash(ctx, q.Path) }))
	answer("DELETE "+filesapi.PathTrash, named("id", home.Purge))
	answer("POST "+filesapi.PathRestore, posted(func(ctx context.Context, q filesapi.Restore) (any, error) { return home.Restore(ctx, q.ID, q.To) }))
	mux.HandleFunc("GET "+filesapi.PathArchive, s.archive)
	answer("POST "+filesapi.PathExtract, s.extract)
	mux.HandleFunc("POST "+filesapi.PathSearch, s.search)
	mux.HandleFunc("POST "+filesapi.PathHash, s.hash)
	up := tusHandler(home, uploadSilence, log)
	mux.Handle(filesapi.PathUploads, up)
	mux.Handle(filesapi.PathUploads+"/", up)
	mux.HandleFunc("POST "+filesapi.PathCompare, s.compare)
	answer("POST "+filesapi.PathPlacing, posted(s.placing))
	return mux
}

// posted is an action whose request is JSON.
func posted[Q any](f func(context.Context, Q) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		q, err := body[Q](r)
		if err != nil {
			return nil, err
		}
		return f(r.Context(), q)
	}
}

// named is an action on what a query names; its answer is empty.
func named(key string, f func(context.Context, files.Path) error) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		q, err := read(r)
		if err != nil {
			return nil, err
		}
		p, err := files.ParsePath(q.Get(key))
		if err != nil {
			return nil, err
		}
		return nil, f(r.Context(), p)
	}
}

func body[Q any](r *http.Request) (q Q, err error) { return bodyOf[Q](r, bodyMax) }

func bodyOf[Q any](r *http.Request, limit int64) (q Q, err error) {
	d := json.NewDecoder(io.LimitReader(r.Body, limit))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		if _, ok := errors.AsType[*station.Problem](err); ok {
			return q, err // a path's own
		}
		return q, badRequest("the body").Because(err)
	}
	return q, nil
}

// read is the request's query, which is refused whole where a part is wrong.
func read(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("the query").Because(err)
	}
	return q, nil
}

func pathOf(r *http.Request) (files.Path, url.Values, error) {
	q, err := read(r)
	if err != nil {
		return "", nil, err
	}
	p, err := files.ParsePath(q.Get("path"))
	return p, q, err
}

func badRequest(what string) *station.Problem {
	return station.Errorf(station.ErrInvalid, "bad_request", "The request cannot be read: look at %s.", what)
}

// statuses maps sentinels to HTTP, as guestapi does.
var statuses = []struct {
	kind   error
	status int
}{
	{station.ErrInvalid, 400}, {station.ErrForbidden, 403}, {station.ErrNotFound, 404}, {station.ErrConflict, 409}, {station.ErrGone, 410},
	{station.ErrLimited, 429}, {station.ErrUnavailable, 503}, {station.ErrNoSpace, 507},
}

// failure is an error as it is told; what nobody foresaw is logged and not told.
func (s *server) failure(err error) (int, filesapi.Failure) {
	p, ok := errors.AsType[*station.Problem](err)
	for _, k := range statuses {
		if ok && errors.Is(p.Kind, k.kind) {
			return k.status, filesapi.Failure{Code: p.Code, Sentence: p.Sentence}
		}
	}
	s.log.Error("request failed", "err", err)
	return 500, filesapi.Failure{Code: "internal", Sentence: "The files cannot be served now; try again in a moment."}
}

func (s *server) answer(w http.ResponseWriter, out any, err error) {
	status := http.StatusOK
	switch {
	case err != nil:
		status, out = s.failure(err)
	case out == nil:
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(out); err != nil {
		s.log.Debug("the answer was not read", "err", err)
	}
}

func (s *server) stat(r *http.Request) (any, error) {
	p, _, err := pathOf(r)
	if err != nil {
		return nil, err
	}
	return s.home.Stat(r.Context(), p)
}

func (s *server) size(r *http.Request) (any, error) {
	p, _, err := pathOf(r)
	if err != nil {
		return nil, err
	}
	return s.home.Size(r.Context(), p)
}

func (s *server) list(r *http.Request) (any, error) {
	p, q, err := pathOf(r)
	if err != nil {
		return nil, err
	}
	o := files.ListOptions{Sort: files.Sort(q.Get("sort")), Cursor: q.Get("cursor")}
	for key, to := range map[string]*bool{"descending": &o.Descending, "hidden": &o.Hidden, "folders_first": &o.FoldersFirst} {
		if v := q.Get(key); v != "" {
			if *to, err = strconv.ParseBool(v); err != nil {
				return nil, badRequest(key)
			}
		}
	}
	if v := q.Get("limit"); v != "" {
		if o.Limit, err = strconv.Atoi(v); err != nil {
			return nil, badRequest("limit")
		}
	}
	return s.home.List(r.Context(), p, o)
}

// read sends a file, or the ranges of it that are asked for. It never says what
// is in it: that is for the door to decide.
func (s *server) read(w http.ResponseWriter, r *http.Request) {
	p, _, err := pathOf(r)
	var f *files.Reader
	if err == nil {
		f, err = s.home.Read(r.Context(), p)
	}
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", f.Entry.ETag)
	http.ServeContent(w, r, "", f.Entry.MTime, f)
}

func (s *server) write(r *http.Request) (any, error) {
	p, q, err := pathOf(r)
	if err != nil {
		return nil, err
	}
	o := files.WriteOptions{Size: r.ContentLength, IfMatch: r.Header.Get("If-Match"), ETag: true}
	switch r.Header.Get("If-None-Match") {
	case "":
	case "*":
		o.IfNone = true
	default:
		return nil, badRequest("If-None-Match, which can only be *")
	}
	if v := q.Get("mode"); v != "" {
		mode, err := strconv.ParseUint(v, 8, 12)
		if err != nil {
			return nil, badRequest("mode, which is octal")
		}
		o.Mode = uint32(mode)
	}
	if v := q.Get("mtime"); v != "" {
		if o.MTime, err = time.Parse(time.RFC3339Nano, v); err != nil {
			return nil, badRequest("mtime, which is as in RFC 3339")
		}
	}
	return s.home.Write(r.Context(), p, r.Body, o)
}

// archive streams a packed folder. What fails after the first byte cuts the
// connection: the other side must not take a part for the whole.
func (s *server) archive(w http.ResponseWriter, r *http.Request) {
	p, q, err := pathOf(r)
	if err == nil {
		_, err = s.home.Stat(r.Context(), p)
	}
	format := files.Format(q.Get("format"))
	if err == nil && format != files.Zip && format != files.TarZst {
		err = badRequest("format, which is zip or tar.zst")
	}
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if r.Method == http.MethodHead {
		return // nothing is packed to be thrown away
	}
	w.Header().Set("Trailer", filesapi.TrailerPacked)
	out := &begun{Writer: w}
	packed, err := s.home.Archive(r.Context(), p, format, out)
	if err != nil && !out.yes { // what was there before has gone or changed
		w.Header().Del("Trailer")
		s.answer(w, nil, err)
		return
	}
	if err == nil {
		var b []byte
		if b, err = json.Marshal(packed); err == nil {
			w.Header().Set(filesapi.TrailerPacked, string(b))
			return
		}
	}
	s.log.Warn("an archive was cut off", "err", err)
	panic(http.ErrAbortHandler)
}

// begun knows whether anything was written.
type begun struct {
	io.Writer
	yes bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.yes = true
	return b.Writer.Write(p)
}

func (s *server) search(w http.ResponseWriter, r *http.Request) {
	q, err := body[filesapi.Search](r)
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	look := s.home.SearchNames
	if q.Content {
		look = s.home.SearchContent
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	done, err := look(r.Context(), q.Path, q.Query(), func(m files.Match) error {
		if err := out.Encode(filesapi.Found{Match: &m}); err != nil {
			return err
		}
		return flush.Flush()
	})
	last := filesapi.Found{Done: &done}
	if err != nil {
		_, f := s.failure(err)
		last = filesapi.Found{Failure: &f}
	}
	if err := out.Encode(last); err != nil {
		s.log.Debug("the answer was not read", "err", err)
	}
}
