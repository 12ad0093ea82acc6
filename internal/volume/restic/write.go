package restic

import (
	"cmp"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
	"staithe/internal/volume/jail"
)

// Init makes the repository. One that is there is left as it is, and no error.
func (r *Repo) Init(ctx context.Context) error {
	err := r.run(ctx, job{args: []string{"init", "--repository-version", "2"}})
	var p *station.Problem
	if asProblem(err, &p) && p.Cause != nil && (strings.Contains(p.Cause.Error(), "already exists") || strings.Contains(p.Cause.Error(), "already initialized")) {
		return nil
	}
	return err
}

// BackupRequest says what to make a snapshot of.
type BackupRequest struct {
	Source   string    // a folder of the host; its content is under Top in the snapshot
	Parent   string    // the snapshot to compare with; "": the newest
	Of       string    // the snapshot's host: whose it is
	At       time.Time // what the snapshot says of when it was made; whole seconds; zero: now
	Tags     []string
	Excludes []string         // restic's patterns; those of a path begin with Top
	Overlays []jail.Overlay   // In is Top
	Retrying func(why string) // a sentence: the store makes trouble, and is tried again; may be nil
}

// Progress is how far an operation is, in bytes and files of content.
type Progress struct {
	Bytes, TotalBytes int64
	Files, TotalFiles int64
}

// Unread is a file that could not be read.
type Unread struct {
	Path string // from the source's top; bytes that are not UTF-8 are replaced
	Gone bool   // it was removed in the meantime
	Why  string
}

// Summary is what came of a backup.
type Summary struct {
	ID         string // short: 8 hex digits
	New        int64
	Changed    int64
	Files      int64
	Bytes      int64
	Added      int64
	Unread     []Unread // the first 1,000
	UnreadMore int64
	CPU        time.Duration
}

const unreadMax = 1000

// Backup makes a snapshot. Files that could not be read are in the summary, and
// are no error.
func (r *Repo) Backup(ctx context.Context, q BackupRequest, progress func(Progress)) (Summary, error) {
	var sum Summary
	args := []string{"backup", "--json", "--host", q.Of}
	if q.Parent != "" {
		args = append(args, "--parent", q.Parent)
	}
	if !q.At.IsZero() {
		args = append(args, "--time", q.At.UTC().Format(time.DateTime))
	}
	if r.o.Bucket.Name != "" {
		args = append(args, "--pack-size", "8") // less is lost, and sent again, when it breaks off
	}
	for _, t := range q.Tags {
		args = append(args, "--tag", t)
	}
	for _, e := range q.Excludes {
		args = append(args, "--exclude", e)
	}
	var events sync.Mutex // what it prints and what it complains of come side by side
	each := func(line []byte) {
		events.Lock()
		defer events.Unlock()
		backupLine(line, &sum, progress)
	}
	err := r.run(ctx, job{
		args: append(args, Top), line: each, event: each, usage: &sum.CPU, overlays: q.Overlays,
		binds: []jail.Bind{{From: q.Source, To: Top}},
		caps:  []uintptr{unix.CAP_DAC_READ_SEARCH},
		said: func(why string) {
			if q.Retrying != nil {
				q.Retrying(r.Trouble(why))
			}
		},
	})
	// With nothing said of what could not be read, it is not known what is missing.
	if CodeOf(err) == CodeIncomplete && sum.ID != "" && len(sum.Unread) > 0 {
		err = nil
	}
	if err == nil && sum.ID == "" {
		err = station.Errorf(station.ErrUnavailable, CodeFailed, "restic said nothing of a snapshot; the next try may do better.")
	}
	return sum, err
}

// backupLine takes in one line of backup's output.
func backupLine(line []byte, sum *Summary, progress func(Progress)) {
	var m struct {
		Type       string          `json:"message_type"`
		Error      json.RawMessage `json:"error"`
		During     string          `json:"during"`
		Item       string          `json:"item"`
		Bytes      int64           `json:"bytes_done"`
		TotalBytes int64           `json:"total_bytes"`
		Files      int64           `json:"files_done"`
		TotalFiles int64           `json:"total_files"`
		New        int64           `json:"files_new"`
		Changed    int64           `json:"files_changed"`
		Added      int64           `json:"data_added"`
		AllFiles   int64           `json:"total_files_processed"`
		AllBytes   int64           `json:"total_bytes_processed"`
		ID         string          `json:"snapshot_id"`
	}
	if json.Unmarshal(line, &m) != nil {
		return // warnings that are not JSON
	}
	switch m.Type {
	case "status":
		if progress != nil {
			progress(Progress{m.Bytes, m.TotalBytes, m.Files, m.TotalFiles})
		}
	case "summary":
		sum.ID, sum.New, sum.Changed, sum.Added, sum.Files, sum.Bytes = m.ID, m.New, m.Changed, m.Added, m.AllFiles, m.AllBytes
	case "error":
		if m.During == "scan" {
			return // that only counts; what matters is said when it is read
		}
		if len(sum.Unread) >= unreadMax {
			sum.UnreadMore++
			return
		}
		sum.Unread = append(sum.Unread, unread(m.Item, m.Error))
	}
}

// unread makes something of an error's JSON, which is whatever Go makes of an
// error: mostly a PathError with a number.
func unread(item string, raw json.RawMessage) Unread {
	u := Unread{Path: strings.TrimPrefix(strings.TrimPrefix(item, Top), "/"), Why: "it could not be read"}
	var e struct {
		Err     any    `json:"Err"`
		Message string `json:"message"`
	}
	if json.Unmarshal(raw, &e) != nil {
		return u
	}
	switch v := e.Err.(type) {
	case float64:
		u.Gone, u.Why = syscall.Errno(v) == syscall.ENOENT, syscall.Errno(v).Error()
	case nil:
		u.Gone = strings.Contains(e.Message, "no such file or directory")
		if e.Message != "" {
			u.Why = e.Message
		}
	}
	return u
}

// RestoreRequest says what to write where.
type RestoreRequest struct {
	Snapshot string
	// Into is an empty folder of the host, out of users' reach. What is restored is
	// in it under "home" (Top).
	Into string
	// Place is what people are told of where that is; "": this server's disk.
	Place string
	// Paths are what to restore, from the top; none: all. Whoever has a path with
	// bytes that are not UTF-8 gives them as they are.
	Paths  []string
	Fresh  bool // what is new is read from the store: see Options.Fresh
	Verify bool // read again what was written, and compare
	// Most is the most bytes of one file; 0: any.
	Most int64
}

// Restored is what came of a restore.
type Restored struct {
	CPU time.Duration
}

// Restore writes files with their modes, times, owners, links and attributes as
// far as the server may: root may all but devices; else owners stay.
func (r *Repo) Restore(ctx context.Context, q RestoreRequest) (Restored, error) {
	const inside = "/restore"
	var got Restored
	args := []string{"restore", q.Snapshot, "--target", inside}
	if q.Verify {
		args = append(args, "--verify")
	}
	for _, p := range q.Paths {
		args = append(args, "--include", Pattern(p))
	}
	err := r.run(ctx, job{args: args, usage: &got.CPU, most: q.Most, fresh: q.Fresh, into: cmp.Or(q.Place, "this server's disk"),
		binds: []jail.Bind{{From: q.Into, To: inside, Write: true}},
		caps:  []uintptr{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID}})
	return got, err
}

// Pattern is the pattern that matches a path from the top, with all that is in
// it, and nothing else.
func Pattern(path string) string {
	var b strings.Builder
	b.WriteString(Top)
	if path = strings.Trim(path, "/"); path != "" && path != "." {
		b.WriteByte('/')
	} else {
		return Top
	}
	// What stands for bytes that are not known (Node.Exact) matches any.
	path = strings.ReplaceAll(path, "\uFFFD", "\x00")
	for i := range len(path) {
		if path[i] == 0 {
			b.WriteByte('?')
			continue
		}
		if strings.IndexByte(`*?[\`, path[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// Policy is which snapshots are kept: of each of the last so many hours, days,
// weeks and months with one, the last; and all within a time before the newest.
type Policy struct {
	Hourly, Daily, Weekly, Monthly int
	Within                         time.Duration
	Tags                           []string // those with one of these tags are kept, too
}

// Forget removes the snapshots of one (BackupRequest.Of) that a policy does not
// keep, not their data: see Prune. Others' stay.
func (r *Repo) Forget(ctx context.Context, of string, p Policy) error {
	args := []string{"forget", "--host", of, "--group-by", "host", "--quiet",
		"--keep-hourly", strconv.Itoa(p.Hourly), "--keep-daily", strconv.Itoa(p.Daily), "--keep-weekly", strconv.Itoa(p.Weekly),
		"--keep-monthly", strconv.Itoa(p.Monthly), "--keep-last", "1"}
	if h := int(p.Within / time.Hour); h > 0 {
		args = append(args, "--keep-within", strconv.Itoa(h)+"h")
	}
	for _, t := range p.Tags {
		args = append(args, "--keep-tag", t)
	}
	return r.run(ctx, job{args: args})
}

// ForgetThese removes snapshots by their IDs, not their data: see Prune.
func (r *Repo) ForgetThese(ctx context.Context, ids []string) error {
	return r.run(ctx, job{args: append([]string{"forget", "--quiet"}, ids...)})
}

// Prune removes data that no snapshot has. The repository is locked meanwhile.
// Packs of which less than a tenth is unused stay as they are.
func (r *Repo) Prune(ctx context.Context) error {
	return r.run(ctx, job{args: []string{"prune", "--quiet", "--max-unused", "10%", "--max-repack-size", "1G"}})
}

// Check reads the repository's structure and a part of its data, from the store
// itself. It locks nothing: what is added meanwhile does no harm, what is removed
// does. subset is as restic has it ("5%", "1/10"); "": no data.
func (r *Repo) Check(ctx context.Context, subset string) error {
	args := []string{"check", "--quiet"}
	if subset != "" {
		args = append(args, "--read-data-subset", subset)
	}
	return r.run(ctx, job{args: args, noLock: true})
}

// Unlock removes the locks of runs that died: this server's at once, others' when
// they are half an hour old. It waits for nothing: while another operation of
// this server runs it fails with CodeBusy.
//
// restic takes a lock for dead when it is of its own host and there is no such
// process. Each run has process numbers of its own, so that is true also of one
// that works: hence the lock file. And a number that this run has itself would
// be taken for alive: hence this one has low numbers, and all others high ones.
func (r *Repo) Unlock(ctx context.Context) error {
	return r.run(ctx, job{args: []string{"unlock", "--quiet"}, low: true, alone: true})
}
