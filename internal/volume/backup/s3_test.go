package backup

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"staithe/internal/s3test"
	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

// newS3Bench is a bench whose backups go to a bucket, through a proxy that makes
// trouble.
func newS3Bench(t *testing.T) (*bench, *s3test.Server) {
	t.Helper()
	needs(t)
	s := s3test.Start(t, "backups")
	b := newBench(t, func(o *Options) {
		o.Bucket = s3Bucket(s)
	})
	b.settled()
	return b, s
}

func s3Bucket(s *s3test.Server) restic.Bucket {
	return restic.Bucket{Endpoint: s.URL, Name: "backups", Prefix: "a/b", AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey, Region: "auto", PathStyle: true}
}

// plainS3 is plain restic on the bucket, from outside.
func (b *bench) plainS3(args ...string) {
	b.t.Helper()
	cmd := exec.Command(b.o.Program, append([]string{"-r", "s3:" + b.o.Bucket.Endpoint + "/backups/a/b/workstations/" + string(b.ws.ID), "--no-cache"}, args...)...)
	cmd.Env = []string{"RESTIC_PASSWORD=" + b.e.key, "AWS_ACCESS_KEY_ID=" + s3test.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3test.SecretKey, "TMPDIR=" + b.t.TempDir()}
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("restic %v: %v: %s", args, err, out)
	}
}

// Whatever the store does: nothing is lost, the state says what is so, and it goes
// on by itself when the store is well again.
func TestTroubleOfTheStore(t *testing.T) {
	t.Parallel() // it waits more than it works
	b, s := newS3Bench(t)
	puts := func(r *http.Request) bool { return r.Method == http.MethodPut }
	for _, c := range []struct {
		name   string
		faults s3test.Faults
		says   string // what the trouble is said to be; "": there need not be any
	}{
		{"credentials refused", s3test.Faults{Status: 403, Code: "InvalidAccessKeyId"}, "credentials"},
		{"soak: no such bucket", s3test.Faults{Status: 404, Code: "NoSuchBucket"}, "does not exist"},
		{"full", s3test.Faults{Status: 507, Code: "QuotaExceeded", Only: puts}, "no room"},
		{"internal errors", s3test.Faults{Status: 500, Code: "InternalError"}, "cannot be reached or does not work"},
		{"soak: busy", s3test.Faults{Status: 503, Code: "SlowDown"}, "cannot be reached or does not work"},
		{"soak: cut off", s3test.Faults{Down: true}, "cannot be reached or does not work"},
		{"torn answers", s3test.Faults{Torn: true, Percent: 20}, ""},
		{"soak: torn requests", s3test.Faults{Unread: true, Percent: 30, Only: puts}, ""},
		{"soak: some errors", s3test.Faults{Status: 500, Code: "InternalError", Percent: 20}, ""},
	} {
		if strings.HasPrefix(c.name, "soak: ") && os.Getenv("STAITHE_SOAK_STORE") == "" {
			continue // each takes up to a minute: `make soak` has them
		}
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			before := b.settled()
			s.Set(c.faults)
			defer s.Set(s3test.Faults{})
			text := c.name + string(random(100_000))
			b.write("f", text)
			if c.says != "" {
				st := b.until("trouble is said", 2*time.Minute, func(st station.BackupState) bool { return strings.Contains(st.Trouble, c.says) })
				if !st.Safe.Equal(before.Safe) || st.Pending < 1 {
					t.Errorf("before %+v, then %+v", before, st)
				}
				if strings.Contains(st.Trouble, s3test.SecretKey) || strings.Contains(st.Trouble, b.e.key) {
					t.Errorf("a secret is told: %s", st.Trouble)
				}
				s.Set(s3test.Faults{})
			}
			st := b.until("it is safe", 5*time.Minute, func(st station.BackupState) bool {
				return st.Safe.After(before.Safe) && st.Pending == 0 && st.Busy == ""
			})
			s.Set(s3test.Faults{})
			if st.Trouble != "" {
				t.Errorf("%+v", st)
			}
			if b.content("f") != text {
				t.Error("the newest snapshot has not what was written")
			}
		})
	}
	b.t = t
	b.plainS3("check", "--read-data")
	b.plainS3("restore", "latest", "--target", t.TempDir())
}

// A server that is killed in the middle of an upload, and a line of 100 KB/s, cost
// time and nothing else.
func TestKilledAndSlowStore(t *testing.T) {
	t.Parallel() // it waits more than it works
	b, s := newS3Bench(t)
	before := b.settled()
	s.Set(s3test.Faults{BytesPerSecond: 100_000})
	text := string(random(1_000_000))
	b.write("f", text)
	asked := s.Requests.Load()
	b.until("it is under way", time.Minute, func(st station.BackupState) bool {
		return st.Busy == "snapshot" && st.Done > 0 && s.Requests.Load() > asked+3
	})
	s.Kill()
	b.until("trouble is said", 2*time.Minute, func(st station.BackupState) bool { return st.Trouble != "" && st.Safe.Equal(before.Safe) })
	s.Up()
	st := b.until("it is safe", 5*time.Minute, func(st station.BackupState) bool {
		return st.Safe.After(before.Safe) && st.Pending == 0 && st.Busy == ""
	})
	s.Set(s3test.Faults{})
	if st.Trouble != "" || b.content("f") != text {
		t.Errorf("%+v", st)
	}
	b.plainS3("check", "--read-data")
}
