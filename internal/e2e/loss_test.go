package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/s3test"
	"staithe/internal/station"
)

// inBucket is a server's settings for backups in a bucket of a test's store.
func inBucket(store *s3test.Server, prefix string) []string {
	return []string{"S3_ENDPOINT=" + store.URL, "S3_BUCKET=bucket", "S3_PREFIX=" + prefix, "S3_PATH_STYLE=true",
		"S3_ACCESS_KEY_ID=" + s3test.AccessKey, "S3_SECRET_ACCESS_KEY=" + s3test.SecretKey, "S3_REGION=" + s3test.Region}
}

// needsRestic skips where there is none.
func needsRestic(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("restic"); err != nil {
		t.Skip("SKIPPED: restic is not installed; run `make setup-test`")
	}
}

// homes are the folders of all homes.
func (s *server) homes() []string {
	s.t.Helper()
	all, err := filepath.Glob(filepath.Join(s.data, "homes", "????????????"))
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// furnish puts into a home everything that one may have, as programs in a session
// would.
func furnish(t testing.TB, home string) {
	t.Helper()
	top := filepath.Join(home, "work")
	write := func(name, content string, mode os.FileMode) {
		p := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("plain", filepath.Base(home), 0o640)
	write("bin/run", "#!/bin/sh\n", 0o755)
	write("odd\xff\n\x1b[31m %41 'q", "odd", 0o600)
	write("-rf", "", 0o644)
	write("$(touch pwned)", "", 0o644)
	write("large", strings.Repeat("0123456789abcdef", 200_000), 0o444)
	sparse, err := os.Create(filepath.Join(top, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = sparse.WriteAt([]byte("end"), 16<<20)
	for _, e := range []error{err, sparse.Close(), os.Mkdir(filepath.Join(top, "empty"), 0o700),
		os.Symlink("../plain", filepath.Join(top, "bin/link")), os.Symlink("/nowhere at all", filepath.Join(top, "dangling")),
		os.Link(filepath.Join(top, "plain"), filepath.Join(top, "bin/hard")), unix.Mkfifo(filepath.Join(top, "fifo"), 0o600),
		unix.Setxattr(filepath.Join(top, "plain"), "user.note", []byte("a\x00b"), 0)} {
		if e != nil {
			t.Fatal(e)
		}
	}
	if os.Geteuid() == 0 {
		if out, err := exec.Command("chown", "-hR", "1000:1000", top).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	at := time.Unix(1_700_000_000, 123456789)
	for _, name := range []string{"plain", "bin/run", "bin", "empty", "."} {
		if err := os.Chtimes(filepath.Join(top, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// sketch is all of a home that a restore has to bring, by path: kind, mode, owner,
// time, content, target, attribute, and which names are one file.
func sketch(t testing.TB, home string) map[string]string {
	t.Helper()
	out, first := map[string]string{}, map[uint64]string{}
	var walk func(rel string)
	walk = func(rel string) {
		f, err := os.Open(filepath.Join(home, rel))
		if err != nil {
			t.Fatal(err)
		}
		names, err := f.Readdirnames(-1)
		if f.Close(); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			p := filepath.Join(rel, name)
			if p == ".cache" || p == ".local/share/staithe" {
				continue // left out, and said so
			}
			out[p] = sketchOne(t, filepath.Join(home, p), p, first)
			if strings.HasPrefix(out[p], "d") {
				walk(p)
			}
		}
	}
	walk(".")
	return out
}

func sketchOne(t testing.TB, full, rel string, first map[uint64]string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(full, &st); err != nil {
		t.Fatal(err)
	}
	info := fmt.Sprintf("%o %d:%d %d.%09d", st.Mode&0o7777, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "d " + info
	case unix.S_IFLNK:
		target, err := os.Readlink(full)
		if err != nil {
			t.Fatal(err)
		}
		return "l " + target
	case unix.S_IFREG:
		f, err := os.Open(full)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			t.Fatal(err)
		}
		if first[st.Ino] == "" {
			first[st.Ino] = rel
		}
		same := ""
		if st.Nlink > 1 {
			same = fmt.Sprintf(" %d names", st.Nlink)
		}
		value := make([]byte, 64)
		n, err := unix.Getxattr(full, "user.note", value)
		if err != nil {
			n = 0
		}
		return fmt.Sprintf("f %s %d %x%s %q", info, st.Size, sum.Sum(nil)[:8], same, value[:n])
	}
	return fmt.Sprintf("%o %s", st.Mode&unix.S_IFMT, info)
}

func sameSketch(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	for p, w := range want {
		if got[p] != w {
			t.Errorf("%s: %q is %q, not %q", what, p, got[p], w)
		}
	}
	for p, g := range got {
		if _, ok := want[p]; !ok {
			t.Errorf("%s: %q is there: %q", what, p, g)
		}
	}
}

// plainRestic runs restic as anybody with the key and the store would.
func plainRestic(t testing.TB, store *s3test.Server, repo, key string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.Command("restic", append([]string{"-o", "s3.bucket-lookup=path"}, args...)...)
	cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY=s3:"+store.URL+"/bucket/"+repo, "RESTIC_PASSWORD="+key, "RESTIC_CACHE_DIR="+t.TempDir(),
		"AWS_ACCESS_KEY_ID="+s3test.AccessKey, "AWS_SECRET_ACCESS_KEY="+s3test.SecretKey, "AWS_DEFAULT_REGION="+s3test.Region)
	return cmd.Output()
}

// eventually waits for something, for two minutes at most.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); <-time.After(500 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

// The host is lost. The bucket and the key bring all of it back: users sign in,
// and every home is what it was.
func TestTotalLoss(t *testing.T) {
	needsRestic(t)
	store := s3test.Start(t, "bucket")
	s := serve(t, inBucket(store, "station")...)
	s.bearer(s.token).must(204, "DELETE", "/sessions/main", nil, nil) // nothing is to write meanwhile
	bob := s.addUser("bob")
	var list []station.Session
	bob.must(200, "GET", "/sessions", nil, &list)
	for _, v := range list {
		bob.must(204, "DELETE", "/sessions/"+string(v.ID), nil, nil)
	}
	bob.must(200, "GET", "/workstation/files", nil, nil) // makes the home
	for _, home := range s.homes() {
		furnish(t, home)
	}
	began := time.Now()
	b, err := os.ReadFile(filepath.Join(s.data, "backup.key"))
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(string(b))
	for _, who := range []*client{s.bearer(s.token), bob} {
		eventually(t, "a verified snapshot of each home", func() bool {
			var state station.BackupState
			who.must(200, "GET", "/workstation/backups/state", nil, &state)
			return state.Safe.After(began)
		})
	}
	eventually(t, "a snapshot of the database with both users", func() bool {
		out, err := plainRestic(t, store, "station/server", key, "dump", "latest", "/home/manifest.json")
		return err == nil && strings.Contains(string(out), `"bob"`)
	})
	s.stop()
	s.endHelpers()
	then := map[string]map[string]string{}
	for _, home := range s.homes() {
		then[filepath.Base(home)] = sketch(t, home)
	}
	if len(then) != 2 {
		t.Fatalf("there are %d homes", len(then))
	}
	if err := os.RemoveAll(s.data); err != nil {
		t.Fatal(err)
	}

	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	restore := func() ([]byte, error) {
		cmd := exec.Command(binary, "restore", "--from", "s3://bucket/station", "--key-file", keyFile, "--data", s.data)
		cmd.Env = append(os.Environ(), s.env...)
		return cmd.CombinedOutput()
	}
	// One object of one home is missing: that home is no home that never was.
	var config string
	for ws := range then {
		config = "/bucket/station/workstations/" + ws + "/config"
	}
	had := store.Must("GET", config, nil, nil, 200)
	store.Must("DELETE", config, nil, nil, 204)
	out, err := restore()
	if err == nil || !strings.Contains(string(out), "config is missing") || !strings.Contains(string(out), "These homes could not be brought") {
		t.Errorf("without an object: %v: %s", err, out)
	}
	store.Must("PUT", config, nil, had, 200)
	out, err = restore()
	if err != nil || strings.Contains(string(out), key) || strings.Contains(string(out), s3test.SecretKey) {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", out)
	for ws, want := range then {
		sameSketch(t, "the home "+ws, sketch(t, filepath.Join(s.data, "homes", ws)), want)
		into := t.TempDir()
		if out, err := plainRestic(t, store, "station/workstations/"+ws, key, "restore", "latest", "--target", into); err != nil {
			t.Errorf("plain restic: %v: %s", err, out)
			continue
		}
		sameSketch(t, "plain restic's "+ws, sketch(t, filepath.Join(into, "home")), want)
	}
	s.again()
	for _, name := range []string{"ada", "bob"} {
		c := s.client()
		c.must(200, "POST", "/login", map[string]any{"username": name, "password": password}, nil)
		c.must(200, "GET", "/workstation/files/stat?path=work/plain", nil, nil)
	}
	// The token of before is as good as it was.
	var snaps struct{ Snapshots []station.Snapshot }
	eventually(t, "the old snapshots are listed again", func() bool {
		s.bearer(s.token).must(200, "GET", "/workstation/backups", nil, &snaps)
		return len(snaps.Snapshots) > 0
	})
}
