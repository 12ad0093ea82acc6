package gateway

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
)

// streamRoutes are the operations that carry bytes of any length.
func (g *Gateway) streamRoutes(a api) {
	download := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	streamed(a, http.MethodGet, contentPath, "read-file", "A file's bytes, or the ranges asked for", g.readFile,
		answers{http.StatusOK: download, http.StatusPartialContent: download, http.StatusNotModified: nil, http.StatusRequestedRangeNotSatisfiable: nil})
	entry := a.media("application/json", reflect.TypeFor[files.Entry](), "entry")
	streamed(a, http.MethodPut, contentPath, "write-file", "Write a file whole: all of the body under that name, or nothing", g.writeFile,
		answers{http.StatusOK: entry})
	streamed(a, http.MethodGet, filesPath+"/archive", "archive-folder", "A folder as one file; one that fails is cut off", g.archive,
		answers{http.StatusOK: download})
	extracted := a.media("application/json", reflect.TypeFor[files.Extracted](), "extracted")
	streamed(a, http.MethodPost, extractPath, "extract-archive", "Unpack an archive, the body, into a folder; what is there stays", g.extract,
		answers{http.StatusOK: extracted})
	lines := a.media("application/x-ndjson", reflect.TypeFor[filesapi.Found](), "found")
	streamed(a, http.MethodPost, filesPath+"/search", "search-files", "Look for names or in contents; lines of JSON, the last of them done or failure", g.search,
		answers{http.StatusOK: lines})
}

func (g *Gateway) readFile(s *stream, in *FileRef) error {
	p, err := files.ParsePath(in.Path)
	if err != nil {
		return err
	}
	q := filesapi.Request{Method: s.r.Method, Path: filesapi.PathContent, Query: url.Values{"path": {in.Path}}, Header: http.Header{}}
	pass(q.Header, s.r.Header, "Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
	res, err := s.do(q)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	pass(s.w.Header(), res.Header, "Etag", "Last-Modified", "Accept-Ranges", "Content-Range", "Content-Length")
	if res.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		s.w.Header().Del("Content-Length")
		return &problem{Status: res.StatusCode, Code: codes[res.StatusCode], Detail: "The file has no such range; ask for its size first."}
	}
	s.attachment(string(p.Base()))
	if t, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err == nil && t == "multipart/byteranges" {
		pass(s.w.Header(), res.Header, "Content-Type") // several ranges
	}
	s.send(res.StatusCode, res.Body)
	return nil
}

type writeFileInput struct {
	FileRef
	Mode    string `query:"mode" pattern:"^[0-7]{0,4}$" doc:"Permission bits of a new file, octal; left out: 0644"`
	MTime   string `query:"mtime" maxLength:"64" doc:"RFC 3339; left out: now"`
	IfMatch string `header:"If-Match" maxLength:"256" doc:"Replace only the content with this ETag"`
	IfNone  string `header:"If-None-Match" maxLength:"256" doc:"*: only when there is nothing of that name"`
}

func (g *Gateway) writeFile(s *stream, in *writeFileInput) error {
	q := filesapi.Request{Method: http.MethodPut, Path: filesapi.PathContent, Length: s.r.ContentLength,
		Query: url.Values{"path": {in.Path}}, Header: http.Header{"Expect": {"100-continue"}}}
	for name, v := range map[string]string{"mode": in.Mode, "mtime": in.MTime} {
		if v != "" {
			q.Query.Set(name, v)
		}
	}
	pass(q.Header, s.r.Header, "If-Match", "If-None-Match")
	body := s.arriving()
	q.Body = body
	err := s.reserve(blocks(max(q.Length, 0)), 1)
	var res *http.Response
	if err == nil {
		res, err = s.do(q)
	}
	if why := body.stop(err != nil); why != nil && err != nil {
		err = s.cause(why)
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body.written(block, 1)
	s.w.Header().Set("Content-Type", "application/json")
	pass(s.w.Header(), res.Header, "Content-Length")
	s.send(res.StatusCode, res.Body)
	return nil
}

type archiveInput struct {
	FileRef
	Format string `query:"format" enum:"zip,tar.zst" required:"true"`
}

func (g *Gateway) archive(s *stream, in *archiveInput) error {
	p, err := files.ParsePath(in.Path)
	if err != nil {
		return err
	}
	res, err := s.do(filesapi.Request{Method: s.r.Method, Path: filesapi.PathArchive, Query: url.Values{"path": {in.Path}, "format": {in.Format}}})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	name := p.Base()
	if p.Home() {
		name = "home"
	}
	s.attachment(name + "." + in.Format)
	s.send(http.StatusOK, res.Body)
	return nil
}

func (g *Gateway) search(s *stream, in *body[searchFiles]) error {
	q := filesapi.Request{Method: http.MethodPost, Path: filesapi.PathSearch}
	if err := q.JSON(in.Body); err != nil {
		return err
	}
	res, err := s.do(q)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	s.w.Header().Set("Content-Type", "application/x-ndjson")
	s.send(http.StatusOK, flushing{res.Body, s.control})
	return nil
}

// flushing has what was read sent before it reads on: a person waits for the
// first match, not for the last.
type flushing struct {
	from    io.Reader
	control *http.ResponseController
}

func (f flushing) Read(p []byte) (int, error) {
	_ = f.control.Flush() // a client that is gone is found by the next write
	return f.from.Read(p)
}
