package restic

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"staithe/internal/s3test"
)

// openS3 makes a repository in a bucket.
func openS3(t *testing.T) (*s3test.Server, Options) {
	t.Helper()
	_, o := open(t)
	s := s3test.Start(t, "backups")
	o.Path = "workstations/w"
	o.Bucket = Bucket{Endpoint: s.URL, Name: "backups", Prefix: "pre", AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey, Region: "auto", PathStyle: true}
	return s, o
}

// A repository in a bucket works, and each trouble is told as what it is.
func TestBucket(t *testing.T) {
	s, o := openS3(t)
	r, err := Open(o)
	try(t, err)
	if _, err := r.Snapshots(t.Context()); CodeOf(err) != CodeNoRepository {
		t.Errorf("before it is made: %v", err)
	}
	try(t, r.Init(t.Context()))
	try(t, r.Init(t.Context()))
	home := t.TempDir()
	try(t, os.WriteFile(filepath.Join(home, "f"), []byte("content"), 0o600))
	sum, err := r.Backup(t.Context(), BackupRequest{Source: home, Of: "w"}, nil)
	try(t, err)
	if keys := s.Objects("backups", "pre/workstations/w/"); len(keys) < 5 {
		t.Errorf("%q", keys)
	}
	var b strings.Builder
	try(t, r.Dump(t.Context(), sum.ID, "f", "", &b))
	if b.String() != "content" {
		t.Errorf("%q", b.String())
	}
	for code, change := range map[string]func(*Options){
		CodeCredentials: func(o *Options) { o.Bucket.SecretKey = "wrong-secret-of-this-test" },
		CodeNoBucket:    func(o *Options) { o.Bucket.Name = "nowhere" },
		CodeKey:         func(o *Options) { o.Key = "another" },
	} {
		q := o
		change(&q)
		w, err := Open(q)
		try(t, err)
		_, err = w.Snapshots(t.Context())
		if CodeOf(err) != code || strings.Contains(err.Error(), q.Bucket.SecretKey) || strings.Contains(err.Error(), q.Key) {
			t.Errorf("%s: %v", code, err)
		}
		t.Log(err)
	}
	s.Set(s3test.Faults{Status: 507, Code: "QuotaExceeded", Only: func(r *http.Request) bool { return r.Method == "PUT" }})
	if _, err := r.Backup(t.Context(), BackupRequest{Source: home, Of: "w"}, nil); CodeOf(err) != CodeFull {
		t.Errorf("full: %v", err)
	}
}
