package helper

import (
	"net/http"
	"strconv"

	"staithe/internal/files"
)

// extract unpacks the body. What it may hold is said by who asks: without a bound
// nothing is unpacked.
func (s *server) extract(r *http.Request) (any, error) {
	p, q, err := pathOf(r)
	if err != nil {
		return nil, err
	}
	o := files.ExtractOptions{Format: files.Format(q.Get("format"))}
	for key, to := range map[string]*bool{"replace": &o.Replace, "strip": &o.Strip} {
		if v := q.Get(key); v != "" {
			if *to, err = strconv.ParseBool(v); err != nil {
				return nil, badRequest(key)
			}
		}
	}
	for key, to := range map[string]*int64{"bytes": &o.Bytes, "files": &o.Files} {
		if *to, err = strconv.ParseInt(q.Get(key), 10, 64); err != nil || *to < 0 {
			return nil, badRequest(key)
		}
	}
	return s.home.Extract(r.Context(), p, r.Body, o)
}
