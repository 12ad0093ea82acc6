package helper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
)

// compare reads a snapshot's listing to its end, then answers line by line.
func (s *server) compare(w http.ResponseWriter, r *http.Request) {
	p, _, err := pathOf(r)
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	out := bufio.NewWriterSize(w, 64<<10)
	line := json.NewEncoder(out)
	in := json.NewDecoder(bufio.NewReader(r.Body))
	w.Header().Set("Content-Type", "application/x-ndjson")
	done, err := s.home.Compare(r.Context(), p, func(yield func(files.Was, error) bool) {
		for {
			var was files.Was
			err := in.Decode(&was)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				err = badRequest("the listing").Because(err)
			}
			if !yield(was, err) || err != nil {
				return
			}
		}
	}, func(d files.Diff) error { return line.Encode(filesapi.Compared{Diff: &d}) })
	last := filesapi.Compared{Done: &done}
	if err != nil {
		_, f := s.failure(err)
		last = filesapi.Compared{Failure: &f}
	}
	if err := errors.Join(line.Encode(last), out.Flush()); err != nil {
		s.log.Debug("the answer was not read", "err", err)
	}
}

// placing goes on when who asked for it is gone.
func (s *server) placing(ctx context.Context, q filesapi.Placing) (any, error) {
	ctx = context.WithoutCancel(ctx)
	switch q.Do {
	case "prepare":
		into, err := s.home.RestoreFolder(q.ID)
		return files.Placed{Phase: files.PhasePrepared, Into: into}, err
	case "look":
		return s.home.Restored(ctx, q.ID)
	case "place":
		return s.home.Place(ctx, q.ID)
	case "undo":
		return s.home.Undo(ctx, q.ID)
	case "forget":
		return nil, s.home.ForgetRestore(ctx, q.ID)
	}
	return nil, badRequest("do, which is prepare, look, place, undo or forget")
}
