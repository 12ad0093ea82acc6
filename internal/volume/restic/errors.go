package restic

import (
	"errors"
	"strings"

	"staithe/internal/station"
)

// The codes of what goes wrong.
const (
	CodeNoRepository = "backup_no_repository" // there is none yet
	CodeNoBucket     = "backup_no_bucket"
	CodeCredentials  = "backup_credentials"
	CodeKey          = "backup_key"
	CodeFull         = "backup_full"
	CodeUnreachable  = "backup_unreachable"
	CodeLocked       = "backup_locked" // by another server, or one that died
	CodeBusy         = "backup_busy"   // by this server
	CodeDamaged      = "backup_damaged"
	CodeNotAFile     = "not_a_file"
	CodeNoSnapshot   = "no_snapshot"
	CodeIncomplete   = "backup_incomplete" // the snapshot is there; some files could not be read
	CodeFailed       = "backup_failed"
)

// CodeOf is the code of an error of this package, "" of any other.
func CodeOf(err error) string {
	var p *station.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

// retrying says why restic tries an operation of the store again.
func retrying(line string) (why string, ok bool) {
	_, rest, ok := strings.Cut(line, ") returned error, retrying after ")
	if !ok {
		return "", false
	}
	_, why, ok = strings.Cut(rest, ": ")
	return why, ok
}

// symptoms are what restic and the libraries in it say, and what that means. The
// first that fits counts: what is particular comes first.
var symptoms = []struct {
	texts    []string
	kind     error
	code     string
	sentence string
}{
	{[]string{"wrong password or no key found"}, station.ErrForbidden, CodeKey,
		"The backup key does not open the repository at %s; put the key it was made with into DATA/backup.key."},
	{[]string{"already locked", "unable to create lock in backend: repository is already"}, station.ErrConflict, CodeLocked,
		"Another server, or one that died, has the repository at %s locked; stop the other one, or wait half an hour until the lock is void."},
	{[]string{"specified bucket does not exist", "NoSuchBucket"}, station.ErrNotFound, CodeNoBucket,
		"The %s does not exist; make it, or correct S3_BUCKET."},
	{[]string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "Access Key Id you provided does not exist", "signature we calculated does not match", "Access Denied", "AccessDenied", "InvalidToken", "403 Forbidden", "Forbidden"}, station.ErrForbidden, CodeCredentials,
		"The store refuses the credentials for %s; correct S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, and see that they may read, write, list and delete there."},
	{[]string{"no space left on device", "disk quota exceeded", "QuotaExceeded", "507 Insufficient Storage", "InsufficientStorage", "StorageFull", "XMinioStorageFull", "quota exceeded", "Quota exceeded", "reached its maximum"}, station.ErrNoSpace, CodeFull,
		"There is no room left at %s; make some, or raise its quota."},
	{[]string{"connection refused", "no such host", "i/o timeout", "connection reset", "network is unreachable", "no route to host", "TLS handshake", "x509:", "tls:", "unexpected EOF", ": EOF", "server misbehaving",
		"Service Unavailable", "Internal Server Error", "InternalError", "internal error", "SlowDown", "reduce your request rate", "502 Bad Gateway", "Gateway Timeout", "ServiceUnavailable", "net/http:", "broken pipe", "context deadline exceeded", "timeout awaiting", "Connection closed by foreign host"}, station.ErrUnavailable, CodeUnreachable,
		"The store of %s cannot be reached or does not work; see that S3_ENDPOINT is right and answers."},
	{[]string{"should be a file, but is a"}, station.ErrConflict, CodeNotAFile,
		"That is no file in the snapshot at %s; ask for a folder as an archive."},
	{[]string{"no matching ID found", "could not find snapshot", "no snapshot found", "not found in snapshot", "cannot dump file"}, station.ErrNotFound, CodeNoSnapshot,
		"The repository at %s has no such snapshot, or that is not in it; list the backups again."},
	{[]string{"/config: no such file or directory", "specified key does not exist", "NoSuchKey", "config file does not exist"}, station.ErrNotFound, CodeNoRepository,
		"There is no repository at %s yet; it is made with the first backup."},
	{[]string{"unable to open config file"}, station.ErrUnavailable, CodeUnreachable,
		"The store of %s cannot be reached or does not work; see that S3_ENDPOINT is right and answers."},
	{[]string{"ciphertext verification failed", "repository contains errors", "invalid data returned", "error loading index", "does not match id", "not found in index", "Fatal: unable to load index", "hash mismatch", "unexpected size", "is not contained in any index"}, station.ErrUnavailable, CodeDamaged,
		"The repository at %s is damaged; keep it as it is, and run restic check on it to see what can be read."},
}

// explain makes a sentence of how restic ended.
func (r *Repo) explain(code int, said string, cause error) error {
	if code == 3 {
		return station.Errorf(station.ErrUnavailable, CodeIncomplete, "Some files could not be read.").Because(cause)
	}
	return problem(r.Place(), said, cause)
}

func problem(place, said string, cause error) error {
	last := lastLines(said)
	why := errors.New(last)
	if last == "" {
		why = cause
	}
	for _, s := range symptoms {
		for _, t := range s.texts {
			if strings.Contains(last, t) {
				return station.Errorf(s.kind, s.code, s.sentence, place).Because(why)
			}
		}
	}
	return station.Errorf(station.ErrUnavailable, CodeFailed, "restic failed at %s; the server's log says how.", place).Because(why)
}

// Trouble says in a sentence why restic tries something again.
func (r *Repo) Trouble(why string) string {
	var p *station.Problem
	if errors.As(problem(r.Place(), why, nil), &p) && p.Code != CodeFailed {
		return p.Sentence
	}
	return "The store of " + r.Place() + " answers with errors; it is tried again."
}

// Place is where the repository is, in words.
func (r *Repo) Place() string {
	if r.o.Place != "" {
		return r.o.Place
	}
	if r.o.Bucket.Name != "" {
		return r.o.Bucket.String()
	}
	return "the folder " + r.o.Path
}

// lastLines is the end of what was said: the reason is there. The names and
// places of restic's functions, which it adds to some errors, are dropped: lines
// of one word, and those set in.
func lastLines(said string) string {
	var lines []string
	for line := range strings.Lines(said) {
		if line = strings.TrimRight(line, "\r\n"); !strings.HasPrefix(line, "\t") && strings.Contains(line, " ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}
