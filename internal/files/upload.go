package files

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

const (
	// uploadsDir holds uploads under way: of each its bytes, under its id, and its
	// record.
	uploadsDir = stagingDir + "/uploads"

	recordSuffix = ".json"
	recordMax    = 32 << 10 // bytes

	// UploadLife is how long an upload is kept that is not continued.
	UploadLife = 7 * 24 * time.Hour
	// doneLife is how long it is known that an upload was finished: its client may
	// not have heard it.
	doneLife = 24 * time.Hour
	// strayLife is the age from which what belongs to no upload is removed.
	strayLife = time.Hour

	// flushEvery is how many bytes are written before the disk is set to work, so
	// that the sync at the end is short.
	flushEvery = 16 << 20
)

// UploadOptions say what an upload becomes.
type UploadOptions struct {
	Path    Path      `json:"path"`
	Size    int64     `json:"size"`              // bytes that will come
	Mode    *uint32   `json:"mode,omitempty"`    // permission bits; nil: as the file that is replaced, else 0644
	MTime   time.Time `json:"mtime,omitzero"`    // zero: when it was finished
	Replace bool      `json:"replace,omitempty"` // what has the name goes to the trash; else the name must be free
	// Overwrite: a file that has the name is gone afterwards, as when it is copied
	// over in a shell; a link is followed. Not with Replace.
	Overwrite bool `json:"overwrite,omitempty"`
	Part      bool `json:"part,omitempty"` // becomes no file: it is one of those that JoinUploads joins
}

// uploadRecord is what is kept of an upload besides its bytes. It lies in the
// home: whoever reads it believes nothing of it.
type uploadRecord struct {
	UploadOptions
	Inode uint64 `json:"inode"` // of the file with the bytes: so it is known again under its name
	Done  bool   `json:"done,omitempty"`
}

// Upload is bytes on their way to a name. It is not safe for concurrent use, nor
// are two of one id: the caller has one at a time.
type Upload struct {
	UploadOptions
	ID     string
	Offset int64 // how many bytes are there; they are on disk
	Done   bool  // it has become a file

	home  *Home
	inode uint64
}

// CreateUpload begins an upload. Nothing is seen of it at its path until Finish.
// That the name is free is looked at now and again at the end.
func (h *Home) CreateUpload(ctx context.Context, o UploadOptions) (u *Upload, err error) {
	if o.Size < 0 {
		return nil, station.Errorf(station.ErrInvalid, "bad_length", "Say with Upload-Length how many bytes will come.")
	}
	if o.Part {
		o.Path, o.Replace, o.Overwrite = ".", false, false
	} else if err := h.uploadable(o); err != nil {
		return nil, err
	}
	dir, err := h.makeFolder(uploadsDir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	u = &Upload{UploadOptions: o, ID: rand.Text(), home: h}
	f, err := open(dir, u.ID, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return nil, explain(o.Path, err)
	}
	var st unix.Stat_t
	err = errors.Join(unix.Fstat(int(f.Fd()), &st), f.Close())
	if err == nil {
		u.inode = st.Ino
		err = u.record(dir)
	}
	if err != nil {
		return nil, explain(o.Path, errors.Join(err, unix.Unlinkat(int(dir.Fd()), u.ID, 0)))
	}
	return u, nil
}

// uploadable says whether a path can become a file, as far as that can be seen
// now.
func (h *Home) uploadable(o UploadOptions) error {
	p, err := o.Path.Clean()
	if err != nil {
		return err
	}
	if p.Home() {
		return isHome()
	}
	parent, base := p.split()
	dir, err := h.folder(parent)
	if errors.Is(err, unix.ENOENT) {
		_, err := h.resolve(parent) // its folders will be made, where they stay inside
		return explain(p, err)
	}
	if err != nil {
		return explain(p, err)
	}
	defer dir.Close()
	st, err := lstat(dir, base)
	switch {
	case err != nil || o.Replace:
	case !o.Overwrite:
		return explain(p, unix.EEXIST)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return explain(p, unix.EISDIR)
	}
	return nil
}

// target opens the folder where the file will be. The caller closes it.
func (u *Upload) target() (dir *os.File, base string, err error) {
	p := u.Path
	if u.Overwrite {
		if p, err = u.home.follow(p); err != nil {
			return nil, "", err
		}
	}
	return u.home.place(p)
}

// record writes what is kept of the upload, whole or not at all.
func (u *Upload) record(dir *os.File) error {
	b, err := json.Marshal(uploadRecord{u.UploadOptions, u.inode, u.Done})
	if err != nil {
		return err
	}
	tmp := rand.Text()
	f, err := open(dir, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = unix.Renameat(int(dir.Fd()), tmp, int(dir.Fd()), u.ID+recordSuffix)
	}
	if err != nil {
		return errors.Join(err, unix.Unlinkat(int(dir.Fd()), tmp, 0))
	}
	return syncFolder(dir)
}

func noUpload() error {
	return station.Errorf(station.ErrNotFound, "no_upload", "There is no such upload, or it was not continued for too long; begin it anew.")
}

// uploadID says whether id can be one.
func uploadID(id string) bool {
	return len(id) == 26 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// OpenUpload finds an upload. What it says has arrived is on disk.
func (h *Home) OpenUpload(ctx context.Context, id string) (*Upload, error) {
	if !uploadID(id) {
		return nil, noUpload()
	}
	dir, err := h.folder(uploadsDir)
	if errors.Is(err, unix.ENOENT) {
		return nil, noUpload()
	}
	if err != nil {
		return nil, explain(uploadsDir, err)
	}
	defer dir.Close()
	rec, err := readRecord(dir, id)
	if err != nil {
		return nil, noUpload()
	}
	u := &Upload{UploadOptions: rec.UploadOptions, ID: id, Done: rec.Done, home: h, inode: rec.Inode}
	if u.Done {
		u.Offset = u.Size
		return u, nil
	}
	f, st, err := openRegular(dir, id)
	if err == nil && st.Ino == u.inode && st.Size <= u.Size {
		defer f.Close()
		u.Offset = st.Size
		return u, explain(u.Path, f.Sync())
	}
	if err == nil {
		f.Close()
	}
	if u.Part || !u.arrived() {
		return nil, noUpload()
	}
	return u, explain(u.Path, u.finished(dir))
}

// arrived says whether the bytes have the upload's name already: a helper was
// killed after it gave them that, before it could note it.
func (u *Upload) arrived() bool {
	dir, base, err := u.target()
	if err != nil {
		return false
	}
	defer dir.Close()
	st, err := lstat(dir, base)
	return err == nil && st.Ino == u.inode && st.Size == u.Size
}

// finished notes that the upload has become a file, and lets its place go. What
// is there now is what the file replaced, which is in the trash too.
func (u *Upload) finished(dir *os.File) error {
	u.Done, u.Offset = true, u.Size
	err := unix.Unlinkat(int(dir.Fd()), u.ID, 0)
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	return errors.Join(err, u.record(dir))
}

func readRecord(dir *os.File, id string) (rec uploadRecord, err error) {
	f, _, err := openRegular(dir, id+recordSuffix)
	if err != nil {
		return rec, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, recordMax))
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return rec, err
	}
	if rec.Size < 0 {
		return rec, noUpload()
	}
	return rec, nil
}

// open opens the bytes for writing.
func (u *Upload) open() (*os.File, error) {
	dir, err := u.home.folder(uploadsDir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	f, err := open(dir, u.ID, unix.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Ino != u.inode || st.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return nil, noUpload()
	}
	return f, nil
}

// Append adds what r gives, as far as the upload's size, and returns how many
// bytes that were. They are on disk then, also when there is an error: what
// arrived is kept.
func (u *Upload) Append(ctx context.Context, r io.Reader) (n int64, err error) {
	f, err := u.open()
	if err != nil {
		return 0, explain(u.Path, err)
	}
	defer func() { err = explain(u.Path, errors.Join(err, f.Close())) }()
	if _, err := f.Seek(u.Offset, io.SeekStart); err != nil {
		return 0, err
	}
	for from := (contextReader{ctx, r}); u.Offset < u.Size && err == nil; {
		var m int64
		if m, err = io.CopyN(f, from, min(flushEvery, u.Size-u.Offset)); m > 0 {
			_ = unix.SyncFileRange(int(f.Fd()), u.Offset, m, unix.SYNC_FILE_RANGE_WRITE) // only begins what Sync ends
			u.Offset, n = u.Offset+m, n+m
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil // less came than may come
	}
	return n, errors.Join(err, f.Sync())
}

// Remove gives the upload up. Of one that is done only the note goes.
func (u *Upload) Remove() error {
	dir, err := u.home.folder(uploadsDir)
	if err != nil {
		return explain(u.Path, err)
	}
	defer dir.Close()
	return explain(u.Path, removeUpload(dir, u.ID))
}

// removeUpload lets the record go first: bytes without one are nothing.
func removeUpload(dir *os.File, id string) error {
	for _, name := range []string{id + recordSuffix, id} {
		if err := unix.Unlinkat(int(dir.Fd()), name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return syncFolder(dir)
}

// JoinUploads makes parts, each whole, the bytes of u, and removes them.
func (u *Upload) JoinUploads(ctx context.Context, parts []*Upload) error {
	for _, part := range parts {
		if !part.Part || part.Offset != part.Size {
			return station.Errorf(station.ErrConflict, "not_a_part", "Only parts that are whole can be joined; continue them first.")
		}
		f, err := part.open()
		if err != nil {
			return explain(u.Path, err)
		}
		_, err = u.Append(ctx, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return explain(u.Path, err)
		}
	}
	if u.Offset != u.Size {
		return station.Errorf(station.ErrConflict, "not_a_part", "The parts are not as long as they were; begin the upload anew.")
	}
	for _, part := range parts {
		if err := part.Remove(); err != nil {
			return err
		}
	}
	return nil
}
