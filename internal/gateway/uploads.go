package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"path"
	"reflect"
	"strconv"
	"strings"

	"staithe/internal/files/filesapi"
	"staithe/internal/station"
)

const (
	uploadsPath = "/workstation/uploads"
	chunkType   = "application/offset+octet-stream"

	// record is what an upload takes besides its bytes.
	record = 2 * block

	// partsMax is how many parts an upload can be joined from.
	partsMax = 64
)

// uploadRoutes are tus 1.0. The helper speaks it; the gateway says who may, keeps
// the quota, and hands on.
func (g *Gateway) uploadRoutes(a api) {
	none := func(statuses ...int) answers {
		out := answers{}
		for _, s := range statuses {
			out[s] = nil
		}
		return out
	}
	refused := []int{http.StatusPreconditionFailed, http.StatusRequestEntityTooLarge, http.StatusLocked}
	streamed(a, http.MethodOptions, uploadsPath, "upload-options", "What of tus 1.0 is there", func(s *stream, _ *nothing) error { return s.tus("", 0, nil) }, none(200), refused...)
	streamed(a, http.MethodPost, uploadsPath, "create-upload", "tus: begin an upload, or join parts", g.createUpload, none(201), refused...)
	streamed(a, http.MethodHead, uploadsPath+"/{id}", "get-upload", "tus: how much has arrived", func(s *stream, in *uploadRef) error { return s.tus(in.ID, 0, nil) }, none(200), refused...)
	streamed(a, http.MethodPatch, uploadsPath+"/{id}", "append-upload", "tus: more bytes; the last gives the file its name", g.appendUpload, none(204), refused...)
	streamed(a, http.MethodDelete, uploadsPath+"/{id}", "delete-upload", "tus: give an upload up", func(s *stream, in *uploadRef) error { return s.tus(in.ID, 0, nil) }, none(204), refused...)
	lines := a.media("application/x-ndjson", reflect.TypeFor[filesapi.Hashed](), "hashed")
	streamed(a, http.MethodPost, filesPath+"/hash", "hash-files", "What is in files, by SHA-256; a line of JSON each, in the paths' order", g.hashFiles, answers{http.StatusOK: lines})
}

type uploadRef struct {
	ID string `path:"id" maxLength:"64"`
}

type newUpload struct {
	Length   string `header:"Upload-Length" maxLength:"20" doc:"Bytes in all"`
	Metadata string `header:"Upload-Metadata" maxLength:"24576" doc:"path, and optionally mode, mtime, replace; see doc/files.md"`
	Concat   string `header:"Upload-Concat" maxLength:"16384" doc:"partial, or final; and the parts' addresses"`
}

// createUpload begins an upload where all of it has room.
func (g *Gateway) createUpload(s *stream, in *newUpload) error {
	if parts, ok := strings.CutPrefix(in.Concat, "final;"); ok {
		return s.joinUploads(strings.Fields(parts))
	}
	folders := uploadFolders(in.Metadata)
	size, err := strconv.ParseInt(in.Length, 10, 64)
	if err != nil || size < 0 || size > math.MaxInt64/2 {
		err = station.Errorf(station.ErrInvalid, "bad_length", "Say with Upload-Length how many bytes will come.")
	} else {
		err = s.reserve(blocks(size)+record+folders*block, 2+folders)
	}
	return s.tus("", record+folders*block, err)
}

// uploadFolders is how many folders an upload may make on the way to its path.
// What cannot be read, the helper refuses.
func uploadFolders(metadata string) (n int64) {
	for pair := range strings.SplitSeq(metadata, ",") {
		if key, value, _ := strings.Cut(strings.Trim(pair, " "), " "); key == "path" {
			path, _ := base64.StdEncoding.DecodeString(value)
			n += foldersTo(string(path))
		}
	}
	return n
}

// joinUploads makes one file of parts, which are copied: there must be room for
// both.
func (s *stream) joinUploads(parts []string) error {
	if len(parts) > partsMax {
		return station.Errorf(station.ErrInvalid, "too_many_parts", "An upload is joined from at most %d parts.", partsMax)
	}
	var size int64
	ids := make([]string, len(parts))
	for i, at := range parts {
		ids[i] = filesapi.PathUploads + "/" + path.Base(at)
		res, err := s.do(filesapi.Request{Method: http.MethodHead, Path: ids[i]})
		if err != nil {
			return err
		}
		res.Body.Close()
		n, err := strconv.ParseInt(res.Header.Get("Upload-Length"), 10, 64)
		if err != nil {
			return fmt.Errorf("the length of a part: %w", err)
		}
		size += n
	}
	if err := s.reserve(blocks(size)+record, 2); err != nil {
		return err
	}
	s.r.Header.Set("Upload-Concat", "final;"+strings.Join(ids, " "))
	return s.tus("", blocks(size)+record, nil)
}

func (g *Gateway) appendUpload(s *stream, in *uploadRef) error {
	return s.tus(in.ID, 0, s.reserve(blocks(max(s.r.ContentLength, 0)), 0))
}

// tus hands a request on to the helper, and its answer back. wrote is how much is
// on the disk then besides the body, in bytes. refused is why it is not to be
// done: who still sends is listened to for a while, or would not hear it.
func (s *stream) tus(id string, wrote int64, refused error) error {
	q := filesapi.Request{Method: s.r.Method, Path: filesapi.PathUploads, Header: http.Header{}}
	if id != "" {
		q.Path += "/" + id
	}
	pass(q.Header, s.r.Header, "Tus-Resumable", "Upload-Length", "Upload-Metadata", "Upload-Concat", "Upload-Offset", "Content-Type")
	var body *arriving
	if s.r.ContentLength != 0 && takesFile(s.r) {
		body = s.arriving()
		q.Body, q.Length = body, s.r.ContentLength
		q.Header.Set("Expect", "100-continue")
	}
	res, err := s.ask(q, refused)
	if body != nil {
		if why := body.stop(err != nil || res.StatusCode >= 300); why != nil && err != nil {
			err = s.cause(why)
		}
	}
	switch { // what came is kept, whatever is answered
	case s.room == nil:
	case body != nil:
		body.written(wrote, math.MaxInt64)
	default:
		s.room.Wrote(min(s.room.Left(), wrote), math.MaxInt64)
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	h := s.w.Header()
	pass(h, res.Header, "Tus-Resumable", "Tus-Version", "Tus-Extension", "Upload-Offset", "Upload-Length", "Upload-Metadata",
		"Upload-Concat", "Upload-Expires", filesapi.HeaderEntry, filesapi.HeaderFailure)
	h.Set("Cache-Control", "no-store")
	if res.StatusCode >= 300 {
		return tusRefusal(res)
	}
	if at, ok := strings.CutPrefix(res.Header.Get("Location"), filesapi.PathUploads); ok {
		h.Set("Location", prefix+uploadsPath+at)
	}
	s.send(res.StatusCode, bytes.NewReader(nil))
	return nil
}

// ask sends a request to the helper unless it is refused already. Unlike do's, its
// answer may be a refusal.
func (s *stream) ask(q filesapi.Request, refused error) (*http.Response, error) {
	if refused != nil {
		return nil, refused
	}
	helper, err := s.helper()
	if err != nil {
		return nil, err
	}
	res, err := helper.Send(s.r.Context(), q)
	return res, s.cause(err)
}

// tusRefusal is the helper's refusal with the status that the protocol wants.
func tusRefusal(res *http.Response) error {
	f := filesapi.Failure{Code: res.Header.Get(filesapi.HeaderFailure), Sentence: "The upload cannot be continued; ask with another method to hear why."}
	if res.Request != nil && res.Request.Method != http.MethodHead {
		if err := json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(&f); err != nil {
			return fmt.Errorf("the files helper answered %s: %w", res.Status, err)
		}
	}
	return &problem{Status: res.StatusCode, Code: f.Code, Detail: f.Sentence}
}

type hashFiles struct {
	Paths []string `json:"paths" maxItems:"1000" doc:"In percent form"`
}

func (g *Gateway) hashFiles(s *stream, in *body[hashFiles]) error {
	q := filesapi.Request{Method: http.MethodPost, Path: filesapi.PathHash}
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
