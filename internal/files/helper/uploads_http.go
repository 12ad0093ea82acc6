package helper

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	tus "github.com/tus/tusd/v2/pkg/handler"
	xslog "golang.org/x/exp/slog"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/station"
)

// maxMetadata bounds Upload-Metadata: a path of 4,000 bytes in percent form and
// base64 is at most 16,000.
const maxMetadata = 24 << 10

// tusHandler serves uploads below filesapi.PathUploads. A request that receives
// nothing for silence is ended.
func tusHandler(home *files.Home, silence time.Duration, log *slog.Logger) http.Handler {
	s := &uploads{home: home, log: log, held: map[string]*uploadLock{}}
	composer := tus.NewStoreComposer()
	composer.UseCore(s)
	composer.UseTerminater(s)
	composer.UseConcater(s)
	composer.UseLocker(s)
	h, err := tus.NewHandler(tus.Config{
		StoreComposer: composer, BasePath: filesapi.PathUploads + "/", DisableDownload: true,
		Cors:                      &tus.CorsConfig{Disable: true},
		Logger:                    xslog.New(xslog.NewTextHandler(discard{}, &xslog.HandlerOptions{Level: xslog.Level(100)})),
		AcquireLockTimeout:        uploadWait,
		NetworkTimeout:            silence,
		PreUploadCreateCallback:   readCreation,
		PreFinishResponseCallback: s.finished,
		// What is written is kept whatever becomes of the request: nothing here
		// waits for its context.
		GracefulRequestCompletionTimeout: time.Millisecond,
	})
	if err != nil {
		panic("uploads: " + err.Error()) // only for a wrong configuration, and this one is fixed
	}
	strip := http.StripPrefix(filesapi.PathUploads, h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("X-HTTP-Method-Override") // who may was decided by the method
		if r.Method == http.MethodDelete {
			r = r.WithContext(context.WithValue(r.Context(), givingUp{}, true))
		}
		a := &tusAnswer{ResponseWriter: w, method: r.Method}
		strip.ServeHTTP(a, r)
		a.end(log)
	})
}

// givingUp marks the context of a request that gives its upload up: it is not to
// be finished first.
type givingUp struct{}

// discard is where tusd's log goes: it has names in it as they came.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// readCreation reads an upload's metadata strictly: tusd passes over what it
// cannot read, and the file would get another name or mode than was meant.
func readCreation(hook tus.HookEvent) (res tus.HTTPResponse, c tus.FileInfoChanges, err error) {
	m, err := parseMetadata(hook.HTTPRequest.Header.Get("Upload-Metadata"))
	if err != nil {
		return res, c, told(err)
	}
	if !hook.Upload.IsPartial {
		if _, err := uploadOptions(m); err != nil {
			return res, c, told(err)
		}
	}
	c.MetaData = m
	return res, c, nil
}

// parseMetadata reads Upload-Metadata: pairs of a key and, after a space, base64,
// between commas.
func parseMetadata(header string) (tus.MetaData, error) {
	bad := func(why string) (tus.MetaData, error) {
		return nil, station.Errorf(station.ErrInvalid, "bad_metadata", "Upload-Metadata cannot be read: %s.", why)
	}
	m := tus.MetaData{}
	if len(header) > maxMetadata {
		return bad("it is too long")
	}
	if strings.TrimSpace(header) == "" {
		return m, nil
	}
	for pair := range strings.SplitSeq(header, ",") {
		key, value, _ := strings.Cut(strings.Trim(pair, " "), " ")
		if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return bad("a key is missing, or is not ASCII")
		}
		if _, twice := m[key]; twice {
			return bad("a key is there twice")
		}
		b, err := base64.StdEncoding.Strict().DecodeString(value)
		if err != nil || strings.ContainsAny(value, "\r\n") {
			return bad("a value is not base64")
		}
		m[key] = string(b)
	}
	return m, nil
}

// finished tells the client what its upload has become.
func (s *uploads) finished(hook tus.HookEvent) (res tus.HTTPResponse, err error) {
	if hook.Upload.IsPartial {
		return res, nil
	}
	p, err := files.ParsePath(hook.Upload.MetaData["path"])
	if err != nil {
		return res, s.failed(err)
	}
	e, err := s.home.Look(p)
	if err != nil { // moved away this moment: it was finished all the same
		return res, nil
	}
	b, err := json.Marshal(e)
	if err != nil {
		return res, s.failed(err)
	}
	res.Header = tus.HTTPHeader{filesapi.HeaderEntry: filesapi.ASCII(string(b))}
	return res, nil
}

// tusFailures says what tusd's own refusals are here.
var tusFailures = map[string]struct {
	status         int
	code, sentence string
}{
	"ERR_MISMATCHED_OFFSET":   {409, "wrong_offset", "The upload is not at this offset; ask for its offset and go on from there."},
	"ERR_UPLOAD_INTERRUPTED":  {423, "upload_busy", "Another request took this upload over; ask for its offset and go on from there."},
	"ERR_LOCK_TIMEOUT":        {423, "upload_busy", "Another request works on this upload; ask for its offset and go on from there."},
	"ERR_UPLOAD_NOT_FOUND":    {404, "no_upload", "There is no such upload, or it was not continued for too long; begin it anew."},
	"ERR_UPLOAD_NOT_FINISHED": {409, "not_a_part", "Only parts that are whole can be joined; continue them first."},
	"ERR_UNSUPPORTED_VERSION": {412, "wrong_tus_version", "Uploads speak tus 1.0: send Tus-Resumable: 1.0.0."},
	"ERR_INVALID_CONTENT_TYPE": {415, "wrong_content_type",
		"The bytes of an upload come with Content-Type: application/offset+octet-stream."},
	"ERR_READ_TIMEOUT": {500, "upload_stalled", "Nothing arrived for too long; ask for the upload's offset and go on from there."},
}

// tusAnswer adds what tusd lacks: refusals in the form of all others, a Location
// without a host, when an upload expires, and the extension of that.
type tusAnswer struct {
	http.ResponseWriter
	method string
	status int          // of a refusal, which is held back until end
	body   bytes.Buffer // its text
	told   bool
}

// Unwrap lets http.ResponseController reach the real one.
func (a *tusAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (a *tusAnswer) WriteHeader(status int) {
	if a.told || a.status != 0 {
		return
	}
	if status >= 400 {
		a.status = status
		return
	}
	a.told = true
	h := a.Header()
	if l := h.Get("Location"); l != "" {
		if i := strings.Index(l, filesapi.PathUploads); i >= 0 {
			h.Set("Location", l[i:])
		}
	}
	switch {
	case a.method == http.MethodOptions:
		h.Set("Tus-Extension", h.Get("Tus-Extension")+",expiration")
	case a.method == http.MethodPost || a.method == http.MethodPatch:
		h.Set("Upload-Expires", time.Now().Add(files.UploadLife).UTC().Format(http.TimeFormat))
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *tusAnswer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
		return a.ResponseWriter.Write(p)
	}
	if a.body.Len() < bodyMax {
		a.body.Write(p)
	}
	return len(p), nil
}

// end sends a refusal.
func (a *tusAnswer) end(log *slog.Logger) {
	if a.status == 0 {
		return
	}
	f := filesapi.Failure{Code: "bad_upload", Sentence: "The upload was refused; look at how it was sent."}
	status := a.status
	switch {
	case a.method == http.MethodHead: // tusd leaves out the body, as it must, and its length
		if f.Code = a.Header().Get(filesapi.HeaderFailure); f.Code == "" {
			f.Code = "bad_upload"
		}
	case a.Header().Get("Content-Type") == "application/json":
		if err := json.Unmarshal(a.body.Bytes(), &f); err != nil {
			log.Error("an upload's refusal cannot be read", "err", err)
		}
	default:
		code, message, _ := strings.Cut(strings.TrimSpace(a.body.String()), ": ")
		if known, ok := tusFailures[code]; ok {
			status, f.Code, f.Sentence = known.status, known.code, known.sentence
		} else if status < 500 && message != "" {
			f.Sentence = fmt.Sprintf("The upload was refused: %s.", files.Path(message)) // percent form is inert
		} else {
			log.Error("an upload failed", "status", status, "err", fmt.Sprintf("%q", a.body.String()))
			f.Code, f.Sentence = "internal", "The upload cannot be continued now; try again in a moment."
		}
	}
	h := a.Header()
	h.Del("Content-Length")
	h.Set("Content-Type", "application/json")
	h.Set(filesapi.HeaderFailure, f.Code) // an answer to HEAD has no body
	a.ResponseWriter.WriteHeader(status)
	if err := json.NewEncoder(a.ResponseWriter).Encode(f); err != nil {
		log.Debug("the answer was not read", "err", err)
	}
}
