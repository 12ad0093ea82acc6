package e2e

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"staithe/internal/s3test"
)

// One command brings a bucket into the home, where a shell finds it.
func TestImportABucket(t *testing.T) {
	bucket := s3test.Start(t, "old-homes")
	put := func(key, content string, meta ...string) {
		h := http.Header{}
		for i := 0; i < len(meta); i += 2 {
			h.Set("X-Amz-Meta-"+meta[i], meta[i+1])
		}
		bucket.Must("PUT", s3test.Path("old-homes", key), h, []byte(content), 200)
	}
	put("ada/hello.sh", "echo hello", "mode", "33261")
	put("ada/link", "", "--symlink-target", "hello.sh", "mode", "41471")
	s := serve(t)
	run := func() string {
		cmd := exec.Command(binary, "import", "--from", "s3://old-homes/ada")
		cmd.Env = append(os.Environ(), "STAITHE_URL="+s.base, "STAITHE_TOKEN="+s.token, "HOME="+t.TempDir(),
			"S3_ENDPOINT="+bucket.URL, "S3_PATH_STYLE=true", "S3_REGION="+s3test.Region, "S3_ACCESS_KEY_ID="+s3test.AccessKey, "S3_SECRET_ACCESS_KEY="+s3test.SecretKey)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	if out := run(); !strings.HasPrefix(out, "2 files came") {
		t.Errorf("%q", out)
	}
	if out := shellOutput(t, s, "main", "./link; stat -c '%a %F' hello.sh"); out != "hello\n755 regular file\n" {
		t.Errorf("%q", out)
	}
	if out := run(); !strings.HasPrefix(out, "0 files came, 0 B; 2 were there already") {
		t.Errorf("again: %q", out)
	}
	if log := s.log.String(); strings.Contains(log, s3test.SecretKey) {
		t.Error("the server's log has the secret")
	}
}

// What a shell in a sandbox does, and what is done over the API, is told.
func TestWatchTellsWhatAShellDoes(t *testing.T) {
	s := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", s.base+"/api/v1/workstation/files/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	until := func(text string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), text) {
				return
			}
		}
		t.Fatalf("%s was not told: %v", text, lines.Err())
	}
	until("event: ready")
	shellOutput(t, s, "main", "mkdir -p a/b/c; echo x > a/b/c/by-shell; mv a/b/c/by-shell moved")
	until(`"path":"moved"`)
	s.bearer(s.token).put("by-api", "x")
	until(`"path":"by-api"`)
}
