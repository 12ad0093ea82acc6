package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// unwritten is how many pages of a file are not on the disk.
func (b *bench) unwritten(name string) uint64 {
	b.t.Helper()
	f, err := os.Open(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	var st unix.Cachestat_t
	err = unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &st, 0)
	if errors.Is(err, unix.ENOSYS) {
		b.t.Skip("SKIPPED: this kernel (before 6.5) does not say what is on the disk")
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return st.Dirty + st.Writeback
}

// What was acknowledged is on the disk, whoever made it and from what.
func TestWhatIsAcknowledgedIsOnTheDisk(t *testing.T) {
	b := newBench(t)
	var fs unix.Statfs_t
	if err := unix.Statfs(b.dir, &fs); err != nil || fs.Type == unix.TMPFS_MAGIC {
		t.Skip("SKIPPED: these files are in memory")
	}
	content := strings.Repeat("staithe ", 1<<16)
	b.put("dirty/f", content)
	if b.unwritten("dirty/f") == 0 {
		t.Skip("SKIPPED: this file system has all on the disk at once")
	}
	// Each is looked at before the next one has all synced.
	on := func(name string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if n := b.unwritten(name); n > 0 {
			t.Errorf("%s: %d pages are not on the disk", name, n)
		}
	}
	on("written", b.write("written", content))
	_, err := b.Copy(t.Context(), "dirty", "copied", 0)
	on("copied/f", err)
	b.put("one", content)
	_, err = b.Copy(t.Context(), "one", "other", 0)
	on("other", err)
	u, err := b.CreateUpload(t.Context(), UploadOptions{Path: "up", Size: int64(len(content))})
	if err == nil {
		_, err = u.Append(t.Context(), strings.NewReader(content))
	}
	if err == nil {
		_, err = u.Finish(t.Context())
	}
	on("up", err)
	_, err = b.extract("out", tarOf(t, file("f", content)), ExtractOptions{Format: Tar, Bytes: 1 << 20, Files: 9})
	on("out/f", err)
}
