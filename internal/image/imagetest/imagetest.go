// Package imagetest gives tests a small real image: Debian with apt, bash and
// sudo, built by tools/image/build.sh and kept in the account's cache folder
// (staithe/test-image) under a name that changes with the recipe.
package imagetest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"staithe/internal/image"
)

// Name is what Import calls the image.
const Name = "small"

// Import imports the image into a data directory and returns it. It skips the
// test where the image is not there and cannot be built (Tar).
func Import(t testing.TB, data string) image.Image {
	t.Helper()
	path := Tar(t)
	s, err := image.Open(data, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	img, err := s.Import(t.Context(), Name, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

var build = sync.OnceValues(ensure)

// errCannot is a machine that cannot build the image.
var errCannot = errors.New("the test image is not built, and building it needs root and mmdebstrap: as root, run `make test-image`")

// Tar returns the path of the image's tar, building it when it is not cached,
// which takes a minute or some and needs a mirror. It skips the test loudly
// where that needs what is not there.
func Tar(t testing.TB) string {
	t.Helper()
	path, err := build()
	if errors.Is(err, errCannot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("build the test image: %v", err)
	}
	return path
}

func ensure() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("no source path")
	}
	top := filepath.Join(filepath.Dir(file), "../../..")
	script := filepath.Join(top, "tools/image/build.sh")
	out, err := exec.Command(script, "--small", "--key").Output()
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "staithe/test-image")
	path := filepath.Join(dir, strings.TrimSpace(string(out))+".tar")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if _, err := exec.LookPath("mmdebstrap"); err != nil || os.Geteuid() != 0 {
		return "", errCannot
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.Open(dir) // several packages' tests run at once
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	cmd := exec.Command(script, "--small", path)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return path, nil
}
