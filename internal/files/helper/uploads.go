package helper

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	tus "github.com/tus/tusd/v2/pkg/handler"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/station"
)

const (
	// uploadStill is how long a request that writes an upload may receive nothing
	// before another one takes its place: its client is gone, or comes back.
	uploadStill = 2 * time.Second
	// uploadWait is how long a request waits for another on the same upload.
	uploadWait = 8 * time.Second
	// uploadSilence ends a request that receives nothing. What came is kept.
	uploadSilence = 60 * time.Second
	// sweepEvery is how often a new upload has old ones removed.
	sweepEvery = time.Hour
)

// uploads is tusd's view of the uploads of a home.
type uploads struct {
	home *files.Home
	log  *slog.Logger

	mu    sync.Mutex
	held  map[string]*uploadLock // by id
	swept time.Time
}

// NewUpload implements tus.DataStore. What the upload becomes was read from its
// metadata by readCreation.
func (s *uploads) NewUpload(ctx context.Context, info tus.FileInfo) (tus.Upload, error) {
	o, err := uploadOptions(info.MetaData)
	if err != nil && !info.IsPartial {
		return nil, told(err)
	}
	o.Size, o.Part = info.Size, info.IsPartial
	s.sweep(ctx)
	u, err := s.home.CreateUpload(context.WithoutCancel(ctx), o)
	if err != nil {
		return nil, s.failed(err)
	}
	return &upload{s: s, u: u, meta: info.MetaData, final: info.IsFinal}, nil
}

// sweep removes old uploads from time to time: a helper may run for weeks.
func (s *uploads) sweep(ctx context.Context) {
	s.mu.Lock()
	due := time.Since(s.swept) > sweepEvery
	if due {
		s.swept = time.Now()
	}
	s.mu.Unlock()
	if !due {
		return
	}
	if err := s.home.SweepUploads(context.WithoutCancel(ctx)); err != nil {
		s.log.Warn("old uploads stay", "err", err)
	}
}

// GetUpload implements tus.DataStore. One that is whole and has not its name yet,
// because a helper was killed or the name was taken, gets it now, unless it is
// given up.
func (s *uploads) GetUpload(ctx context.Context, id string) (tus.Upload, error) {
	ctx = context.WithoutCancel(ctx)
	u, err := s.home.OpenUpload(ctx, id)
	if err != nil {
		return nil, s.failed(err)
	}
	up := &upload{s: s, u: u}
	if ctx.Value(givingUp{}) != nil {
		return up, nil
	}
	if err := up.settle(ctx); err != nil {
		return nil, err
	}
	return up, nil
}

// AsTerminatableUpload implements tus.TerminaterDataStore.
func (s *uploads) AsTerminatableUpload(u tus.Upload) tus.TerminatableUpload { return u.(*upload) }

// AsConcatableUpload implements tus.ConcaterDataStore.
func (s *uploads) AsConcatableUpload(u tus.Upload) tus.ConcatableUpload { return u.(*upload) }

// failed is an error in tusd's form. What nobody foresaw is logged and not told.
func (s *uploads) failed(err error) error {
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*station.Problem](err); ok && p.Kind != nil {
		return told(err)
	}
	s.log.Error("an upload failed", "err", err)
	return told(station.Errorf(errInternal, "internal", "The upload cannot be continued now; try again in a moment."))
}

var errInternal = errors.New("internal")

// told is a Problem as tusd's answer.
func told(err error) error {
	p, _ := errors.AsType[*station.Problem](err)
	status := 500
	for _, k := range statuses {
		if errors.Is(p.Kind, k.kind) {
			status = k.status
		}
	}
	return failure(p.Code, p.Sentence, status)
}

func failure(code, sentence string, status int) tus.Error {
	e := tus.NewError(code, sentence, status)
	b, err := json.Marshal(filesapi.Failure{Code: code, Sentence: sentence})
	if err == nil { // two strings: always
		e.HTTPResponse.Body = string(b) + "\n"
	}
	e.HTTPResponse.Header = tus.HTTPHeader{"Content-Type": "application/json", filesapi.HeaderFailure: code}
	return e
}

// upload is one request's view of an upload.
type upload struct {
	s     *uploads
	u     *files.Upload
	meta  tus.MetaData
	final bool
	entry files.Entry // when it is done
}

// settle finishes what is whole.
func (u *upload) settle(ctx context.Context) (err error) {
	if u.u.Part || u.u.Offset != u.u.Size || u.entry.Path != "" {
		return nil
	}
	was := u.u.Done
	u.entry, err = u.u.Finish(context.WithoutCancel(ctx))
	if was && errors.Is(err, station.ErrNotFound) {
		return nil // it was finished, and the file moved since
	}
	return u.s.failed(err)
}

// WriteChunk implements tus.Upload.
func (u *upload) WriteChunk(ctx context.Context, _ int64, r io.Reader) (int64, error) {
	n, err := u.u.Append(context.WithoutCancel(ctx), u.s.noticed(u.u.ID, r))
	return n, u.s.failed(err)
}

// GetInfo implements tus.Upload.
func (u *upload) GetInfo(context.Context) (tus.FileInfo, error) {
	meta := u.meta
	if meta == nil {
		meta = uploadMetadata(u.u.UploadOptions)
	}
	return tus.FileInfo{ID: u.u.ID, Size: u.u.Size, Offset: u.u.Offset, MetaData: meta, IsPartial: u.u.Part}, nil
}

// GetReader implements tus.Upload. Nobody reads an upload under way.
func (u *upload) GetReader(context.Context) (io.ReadCloser, error) {
	return nil, failure("method_not_allowed", "An upload cannot be read; read the file when it is there.", 405)
}

// FinishUpload implements tus.Upload.
func (u *upload) FinishUpload(ctx context.Context) error { return u.settle(ctx) }

// Terminate implements tus.TerminatableUpload.
func (u *upload) Terminate(context.Context) error { return u.s.failed(u.u.Remove()) }

// ConcatUploads implements tus.ConcatableUpload.
func (u *upload) ConcatUploads(ctx context.Context, partial []tus.Upload) error {
	parts := make([]*files.Upload, len(partial))
	for i, p := range partial {
		parts[i] = p.(*upload).u
	}
	ctx = context.WithoutCancel(ctx)
	err := u.u.JoinUploads(ctx, parts)
	if err == nil {
		return u.settle(ctx)
	}
	if rerr := u.u.Remove(); rerr != nil {
		u.s.log.Warn("a failed upload stays until it is swept", "err", rerr)
	}
	return u.s.failed(err)
}

// uploadMetadata is what HEAD tells, as it was given.
func uploadMetadata(o files.UploadOptions) tus.MetaData {
	if o.Part {
		return nil
	}
	m := tus.MetaData{"path": o.Path.String()}
	if o.Mode != nil {
		m["mode"] = "0" + strconv.FormatUint(uint64(*o.Mode), 8)
	}
	if !o.MTime.IsZero() {
		m["mtime"] = o.MTime.Format(time.RFC3339Nano)
	}
	switch {
	case o.Replace:
		m["replace"] = "yes"
	case o.Overwrite:
		m["replace"] = "overwrite"
	}
	return m
}

// uploadOptions reads what an upload becomes.
func uploadOptions(m map[string]string) (o files.UploadOptions, err error) {
	text, ok := m["path"]
	if !ok {
		return o, station.Errorf(station.ErrInvalid, "bad_metadata", "Say in Upload-Metadata which path the file gets.")
	}
	if o.Path, err = files.ParsePath(text); err != nil {
		return o, err
	}
	if v, ok := m["mode"]; ok {
		mode, err := strconv.ParseUint(v, 8, 12)
		if err != nil {
			return o, badRequest("mode, which is octal")
		}
		o.Mode = new(uint32(mode))
	}
	if v, ok := m["mtime"]; ok {
		if o.MTime, err = time.Parse(time.RFC3339Nano, v); err != nil {
			return o, badRequest("mtime, which is as in RFC 3339")
		}
	}
	switch v := m["replace"]; v {
	case "", "no":
	case "yes":
		o.Replace = true
	case "overwrite":
		o.Overwrite = true
	default:
		return o, badRequest("replace, which is yes, no or overwrite")
	}
	return o, nil
}
