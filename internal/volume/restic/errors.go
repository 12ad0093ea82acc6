package restic

import (
	"errors"
	"slices"
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
	CodeNoRoom       = "no_room" // on this server's own disk
	CodeUnreachable  = "backup_unreachable"
	CodeLocked       = "backup_locked" // by another server, or one that died
	CodeBusy         = "backup_busy"   // by this server
	CodeDamaged      = "backup_damaged"
	CodeNotAFile     = "not_a_file"
	CodeTooLarge     = "too_large"
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
// first that fits counts: what is particular comes first. with, where it is given,
// has to be in the same line.
var symptoms = []struct {
	with     string
	texts    []string
	kind     error
	code     string
	sentence string
}{
	{"", []string{"wrong password or no key found"}, station.ErrForbidden, CodeKey,
		"The backup key does not open the repository at %s; put the key it was made with into DATA/backup.key."},
	{"", []string{"already locked", "unable to create lock in backend: repository is already"}, station.ErrConflict, CodeLocked,
		"Another server, or one that died, has the repository at %s locked; stop the other one, or wait half an hour until the lock is void."},
	{"", []string{"specified bucket does not exist", "NoSuchBucket"}, station.ErrNotFound, CodeNoBucket,
		"The %s does not exist; make it, or correct S3_BUCKET."},
	{"", []string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "Access Key Id you provided does not exist", "signature we calculated does not match", "Access Denied", "AccessDenied", "InvalidToken", "403 Forbidden", "Forbidden"}, station.ErrForbidden, CodeCredentials,
		"The store refuses the credentials for %s; correct S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, and see that they may read, write, list and delete there."},
	{"", []string{"no space left on device", "disk quota exceeded", "QuotaExceeded", "507 Insufficient Storage", "InsufficientStorage", "StorageFull", "XMinioStorageFull", "quota exceeded", "Quota exceeded", "reached its maximum"}, station.ErrNoSpace, CodeFull,
		"There is no room left at %s; make some, or raise its quota."},
	{"", []string{"connection refused", "no such host", "i/o timeout", "connection reset", "network is unreachable", "no route to host", "TLS handshake", "x509:", "tls:", "unexpected EOF", ": EOF", "server misbehaving",
		"Service Unavailable", "Internal Server Error", "InternalError", "internal error", "SlowDown", "reduce your request rate", "502 Bad Gateway", "Gateway Timeout", "ServiceUnavailable", "net/http:", "broken pipe", "context deadline exceeded", "timeout awaiting", "Connection closed by foreign host"}, station.ErrUnavailable, CodeUnreachable,
		"The store of %s cannot be reached or does not work; see that S3_ENDPOINT is right and answers."},
	{"", []string{"should be a file, but is a"}, station.ErrConflict, CodeNotAFile,
		"That is no file in the snapshot at %s; ask for a folder as an archive."},
	{"", []string{"no matching ID found", "could not find snapshot", "no snapshot found", "not found in snapshot", "cannot dump file"}, station.ErrNotFound, CodeNoSnapshot,
		"The repository at %s has no such snapshot, or that is not in it; list the backups again."},
	// Only of the config: any other object that is not there is damage.
	{"Fatal: unable to open config file: ", notThere, station.ErrNotFound, CodeNoRepository,
		"There is no repository at %s yet; it is made with the first backup."},
	{"", []string{"unable to open config file"}, station.ErrUnavailable, CodeUnreachable,
		"The store of %s cannot be reached or does not work; see that S3_ENDPOINT is right and answers."},
	{"", []string{"ciphertext verification failed", "repository contains errors", "invalid data returned", "error loading index", "does not match id", "not found in index", "Fatal: unable to load index", "hash mismatch", "unexpected size", "is not contained in any index",
		"not found in repository", "is not known; the repository could be damaged", "config file has zero size", "specified key does not exist", "NoSuchKey"}, station.ErrUnavailable, CodeDamaged, damaged},
	{"/repository/", []string{"no such file or directory"}, station.ErrUnavailable, CodeDamaged, damaged},
	{"", []string{"file too large"}, station.ErrConflict, CodeTooLarge,
		"A file of the snapshot at %s is larger than was expected; list the backups again, and take another one."},
}

const damaged = "The repository at %s is damaged; keep it as it is, and run restic check on it to see what can be read."

// notThere is how a folder and a bucket say that they have no such thing.
var notThere = []string{"no such file or directory", "specified key does not exist", "NoSuchKey", "config file does not exist"}

// explain makes a sentence of how restic ended. into is where it wrote to, in
// words; "": only to the repository.
func (r *Repo) explain(code int, said, into string, cause error) error {
	if code == 3 {
		return station.Errorf(station.ErrUnavailable, CodeIncomplete, "Some files could not be read.").Because(cause)
	}
	if where := fullHere(said, into); where != "" {
		return station.Errorf(station.ErrNoSpace, CodeNoRoom, "There is no room left in %s; make some, and try again.", where).
			Because(errors.New(strings.Join(lastLines(said), "\n")))
	}
	return problem(r.Place(), said, cause)
}

// fullHere says what is full of this server's own, which the store has nothing to
// do with; "": nothing.
func fullHere(said, into string) string {
	for _, line := range lastLines(said) {
		switch {
		case !strings.Contains(line, "no space left on device") && !strings.Contains(line, "disk quota exceeded"):
		case strings.Contains(line, insideCache+"/"):
			return "the server's data directory"
		case into != "" && !strings.Contains(line, insideRepo+"/"):
			return into
		}
	}
	return ""
}

func problem(place, said string, cause error) error {
	lines := lastLines(said)
	why := cause
	if len(lines) > 0 {
		why = errors.New(strings.Join(lines, "\n"))
	}
	// What was tried again may have worked then: what came of it counts first.
	final := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { _, again := retrying(l); return again })
	for _, some := range [][]string{final, lines} {
		for _, s := range symptoms {
			for _, line := range some {
				if strings.Contains(line, s.with) && slices.ContainsFunc(s.texts, func(t string) bool { return strings.Contains(line, t) }) {
					return station.Errorf(s.kind, s.code, s.sentence, place).Because(why)
				}
			}
		}
	}
	return station.Errorf(station.ErrUnavailable, CodeFailed, "restic failed at %s; the server's log says how.", place).Because(why)
}

// Trouble says in a sentence why restic tries something again.
func (r *Repo) Trouble(why string) string {
	var p *station.Problem
	if errors.As(problem(r.Place(), why, nil), &p) && p.Code != CodeFailed && p.Code != CodeDamaged {
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
// of one word, and those set in. Of those that say that something is tried again
// the last is enough.
func lastLines(said string) []string {
	var lines []string
	for line := range strings.Lines(said) {
		if line = strings.TrimRight(line, "\r\n"); !strings.HasPrefix(line, "\t") && strings.Contains(line, " ") {
			if _, again := retrying(line); again && len(lines) > 0 {
				if _, before := retrying(lines[len(lines)-1]); before {
					lines = lines[:len(lines)-1]
				}
			}
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-12):]
}
