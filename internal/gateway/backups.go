package gateway

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"staithe/internal/files"
	"staithe/internal/station"
)

// Backups are users' snapshots.
type Backups interface {
	// State says how safe a home is, Snapshots lists what there is, newest first.
	State(ctx context.Context, user station.ID) (station.BackupState, error)
	Snapshots(ctx context.Context, user station.ID) ([]station.Snapshot, error)
	// Now asks for a snapshot and does not wait.
	Now(ctx context.Context, user station.ID) error
	// Folder lists a folder as it was.
	Folder(ctx context.Context, user station.ID, snapshot string, path files.Path) ([]files.Entry, error)
	// Content writes a file as it was, Archive a folder as tar or zip. An error may
	// come after some of it was written.
	Content(ctx context.Context, user station.ID, snapshot string, path files.Path, w io.Writer) error
	Archive(ctx context.Context, user station.ID, snapshot string, path files.Path, format string, w io.Writer) error
}

// backupRoutes are the operations on snapshots.
func (g *Gateway) backupRoutes(a api) {
	get(a, backupsPath, "list-backups", "How safe the home is, and its snapshots, newest first", homeFiles, g.listBackups, http.StatusNotFound)
	get(a, backupsPath+"/state", "backup-state", "How safe the home is", homeFiles, g.backupState, http.StatusNotFound)
	post(a, backupsPath, "create-backup", "Make a snapshot now", homeFiles, http.StatusAccepted, g.createBackup)
	get(a, backupsPath+"/{snapshot}/files", "list-backup-files", "A folder as it was", homeFiles, g.listBackupFiles, http.StatusNotFound, http.StatusConflict)
	download := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	streamed(a, http.MethodGet, backupsPath+"/{snapshot}/content", "read-backup-file", "A file as it was", g.backupContent, answers{http.StatusOK: download})
	streamed(a, http.MethodGet, backupsPath+"/{snapshot}/archive", "archive-backup-folder", "A folder as it was, as one file; one that fails is cut off", g.backupArchive, answers{http.StatusOK: download})
}

type backupList struct {
	State     station.BackupState `json:"state"`
	Snapshots []station.Snapshot  `json:"snapshots" nullable:"false"`
}

// snapshotting is the backups, or why there are none.
func (g *Gateway) snapshotting() (Backups, error) {
	if g.backups == nil {
		return nil, station.Errorf(station.ErrUnavailable, "no_backups", "This server makes no backups.")
	}
	return g.backups, nil
}

func (g *Gateway) listBackups(ctx context.Context, c caller, _ *nothing) (*output[backupList], error) {
	b, err := g.snapshotting()
	if err != nil {
		return nil, err
	}
	var list backupList
	if list.State, err = b.State(ctx, c.User.ID); err == nil {
		list.Snapshots, err = b.Snapshots(ctx, c.User.ID)
	}
	return answer(list, err)
}

func (g *Gateway) backupState(ctx context.Context, c caller, _ *nothing) (*output[station.BackupState], error) {
	b, err := g.snapshotting()
	if err != nil {
		return nil, err
	}
	return answer(b.State(ctx, c.User.ID))
}

func (g *Gateway) createBackup(ctx context.Context, c caller, _ *nothing) (*output[station.BackupState], error) {
	b, err := g.snapshotting()
	if err == nil {
		err = b.Now(ctx, c.User.ID)
	}
	if err != nil {
		return nil, err
	}
	return answer(b.State(ctx, c.User.ID))
}

// BackupFileRef names something in a snapshot.
type BackupFileRef struct {
	Snapshot string `path:"snapshot" maxLength:"64" doc:"The snapshot's id"`
	FileRef
}

var snapshotID = regexp.MustCompile(`^[0-9a-f]{8,64}$`)

// parse checks what came from outside: restic would take other words for
// snapshots, too, such as latest.
func (in *BackupFileRef) parse() (files.Path, error) {
	if !snapshotID.MatchString(in.Snapshot) {
		return "", station.Errorf(station.ErrNotFound, "no_snapshot", "There is no such backup; list the backups again.")
	}
	return files.ParsePath(in.Path)
}

type backupFiles struct {
	Entries []files.Entry `json:"entries" nullable:"false"`
}

func (g *Gateway) listBackupFiles(ctx context.Context, c caller, in *BackupFileRef) (*output[backupFiles], error) {
	b, err := g.snapshotting()
	if err != nil {
		return nil, err
	}
	p, err := in.parse()
	if err != nil {
		return nil, err
	}
	entries, err := b.Folder(ctx, c.User.ID, in.Snapshot, p)
	return answer(backupFiles{entries}, err)
}

func (g *Gateway) backupContent(s *stream, in *BackupFileRef) error {
	b, err := g.snapshotting()
	if err != nil {
		return err
	}
	p, err := in.parse()
	if err != nil {
		return err
	}
	return s.download(string(p.Base()), func(w io.Writer) error { return b.Content(s.r.Context(), s.who.User.ID, in.Snapshot, p, w) })
}

type backupArchiveInput struct {
	BackupFileRef
	Format string `query:"format" enum:"tar,zip" required:"true"`
}

func (g *Gateway) backupArchive(s *stream, in *backupArchiveInput) error {
	b, err := g.snapshotting()
	if err != nil {
		return err
	}
	p, err := in.parse()
	if err != nil {
		return err
	}
	name := p.Base()
	if p.Home() {
		name = "home"
	}
	return s.download(name+"."+in.Format, func(w io.Writer) error {
		return b.Archive(s.r.Context(), s.who.User.ID, in.Snapshot, p, in.Format, w)
	})
}

// download sends what is written as an attachment. What fails before the first
// byte is refused as usual, what fails later cuts the connection.
func (s *stream) download(name string, write func(io.Writer) error) error {
	w := &lateWriter{s: s, name: name}
	err := write(w)
	switch {
	case err == nil:
		w.begin()
	case !w.begun:
		return s.cause(err)
	default:
		s.g.log.Warn("a download was cut off", "request", s.who.id, "err", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// lateWriter begins the answer with the first byte of its body.
type lateWriter struct {
	s     *stream
	name  string
	begun bool
}

func (w *lateWriter) begin() {
	if !w.begun {
		w.begun = true
		w.s.attachment(w.name)
		w.s.w.WriteHeader(http.StatusOK)
	}
}

func (w *lateWriter) Write(b []byte) (int, error) {
	w.begin()
	_ = w.s.control.SetWriteDeadline(time.Now().Add(w.s.g.timing.stall)) // who takes nothing keeps nothing from being pruned
	return w.s.w.Write(b)
}
