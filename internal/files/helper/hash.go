package helper

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/station"
)

// hash says what is in files, so that who has the same need not send or fetch it.
// A path's failure is its own line's.
func (s *server) hash(w http.ResponseWriter, r *http.Request) {
	q, err := bodyOf[filesapi.Hash](r, hashBodyMax)
	if err == nil && len(q.Paths) > filesapi.HashMax {
		err = station.Errorf(station.ErrInvalid, "too_many_paths", "Ask for at most %d paths at once.", filesapi.HashMax)
	}
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out, flush := json.NewEncoder(w), http.NewResponseController(w)
	for _, p := range q.Paths {
		line := s.hashed(r.Context(), p)
		if r.Context().Err() != nil {
			return
		}
		if err = out.Encode(line); err == nil {
			err = flush.Flush()
		}
		if err != nil {
			s.log.Debug("the answer was not read", "err", err)
			return
		}
	}
}

// hashBodyMax is for as many of the longest paths as a person's tree has; more
// long ones than that are asked for in two requests.
const hashBodyMax = 4 << 20

func (s *server) hashed(ctx context.Context, p files.Path) (h filesapi.Hashed) {
	e, err := s.home.Look(p)
	if err == nil {
		h.Entry = e
		if e.Kind == files.KindFile {
			h.SHA256, err = s.sum(ctx, p)
		}
	}
	if err != nil {
		_, f := s.failure(err)
		h.Failure = &f
	}
	return h
}

func (s *server) sum(ctx context.Context, p files.Path) (string, error) {
	f, err := s.home.Read(ctx, p)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	for {
		if _, err = io.CopyN(sum, f, 4<<20); err != nil {
			break
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
	if err != io.EOF {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
