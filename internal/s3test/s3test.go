// Package s3test gives tests a real S3 server in processes and folders of their
// own, behind a proxy that makes the troubles stores make. Only tests import it.
//
// The server is versitygw; with STAITHE_TEST_S3=minio in the environment, MinIO.
package s3test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The credentials of a server's owner.
const (
	AccessKey = "s3test-access"
	SecretKey = "s3test-secret-key"
	Region    = "us-east-1"
)

// Server is one S3 server and the proxy in front. Addresses go by path
// (http://host/bucket/key).
type Server struct {
	*Proxy
	t    testing.TB
	addr string // the server's own
	dir  string
	cmd  *exec.Cmd
	out  bytes.Buffer
}

// Start starts a server with a bucket, and ends it with the test. Where there is
// no such program the test is skipped.
func Start(t testing.TB, bucket string) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), addr: freeAddress(t)}
	for _, d := range []string{"data", "versions"} {
		if err := os.Mkdir(filepath.Join(s.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.Up()
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("the S3 server said: %s", s.out.String())
		}
	})
	s.Proxy = newProxy(t, s.addr)
	s.Must("PUT", "/"+bucket, nil, nil, 200)
	return s
}

// program is the server's command line.
func (s *Server) program() *exec.Cmd {
	name, args := "versitygw", []string{"--port", s.addr, "--quiet", "posix", "--versioning-dir", filepath.Join(s.dir, "versions"), filepath.Join(s.dir, "data")}
	env := []string{"ROOT_ACCESS_KEY=" + AccessKey, "ROOT_SECRET_KEY=" + SecretKey}
	if os.Getenv("STAITHE_TEST_S3") == "minio" {
		name, args = "minio", []string{"server", "--address", s.addr, filepath.Join(s.dir, "data")}
		env = []string{"MINIO_ROOT_USER=" + AccessKey, "MINIO_ROOT_PASSWORD=" + SecretKey, "MINIO_UPDATE=off", "HOME=" + s.dir}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		cache, cerr := os.UserCacheDir()
		path = filepath.Join(cache, "staithe", "bin", name)
		if _, serr := os.Stat(path); cerr != nil || serr != nil {
			s.t.Skipf("SKIPPED, a real S3 server: there is no %s; run tools/setup.sh test", name)
		}
	}
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Dir = env, s.dir
	return cmd
}

// Up starts the server (again), with the data it has.
func (s *Server) Up() {
	s.t.Helper()
	s.cmd = s.program()
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		resp, err := http.Get("http://" + s.addr + "/")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode < 500 {
				return
			}
		}
		if time.Now().After(end) {
			s.t.Fatalf("the S3 server does not answer: %v\n%s", err, s.out.String())
		}
	}
}

// Kill ends the server at once, whatever it does. Its data stays.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	_ = s.cmd.Wait()
}

// Objects lists the keys of a bucket that begin so.
func (s *Server) Objects(bucket, prefix string) []string {
	s.t.Helper()
	var keys []string
	for token := ""; ; {
		query := "list-type=2&prefix=" + escape(prefix, true)
		if token != "" {
			query = "continuation-token=" + escape(token, true) + "&" + query
		}
		body := string(s.Must("GET", "/"+bucket+"?"+query, nil, nil, 200))
		for _, part := range strings.Split(body, "<Key>")[1:] {
			key, _, _ := strings.Cut(part, "</Key>")
			keys = append(keys, key)
		}
		_, rest, more := strings.Cut(body, "<NextContinuationToken>")
		if !more {
			return keys
		}
		token, _, _ = strings.Cut(rest, "</NextContinuationToken>")
	}
}

// Must asks the server itself, not through the proxy, and wants that status.
func (s *Server) Must(method, path string, header http.Header, body []byte, want int) []byte {
	s.t.Helper()
	status, b, err := Do("http://"+s.addr, method, path, header, body)
	if err != nil || status != want {
		s.t.Fatalf("%s %s: %d %s %v", method, path, status, b, err)
	}
	return b
}

func freeAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return fmt.Sprint(ln.Addr())
}
