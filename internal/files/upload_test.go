package files

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// send makes an upload whole, in the pieces that are given.
func (b *bench) send(o UploadOptions, pieces ...string) *Upload {
	b.t.Helper()
	o.Size = int64(len(strings.Join(pieces, "")))
	u, err := b.CreateUpload(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, p := range pieces {
		u = b.reopen(u)
		if n, err := u.Append(b.t.Context(), strings.NewReader(p)); err != nil || n != int64(len(p)) {
			b.t.Fatalf("%d %v", n, err)
		}
	}
	return b.reopen(u)
}

// reopen finds an upload again, as the next request does, also after a kill.
func (b *bench) reopen(u *Upload) *Upload {
	b.t.Helper()
	v, err := b.OpenUpload(b.t.Context(), u.ID)
	if err != nil || v.Offset != u.Offset {
		b.t.Fatalf("%+v, not %+v: %v", v, u, err)
	}
	return v
}

func (b *bench) uploads() []string {
	b.t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.dir, string(uploadsDir)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestUploadBecomesAFile(t *testing.T) {
	b := newBench(t)
	at := time.Date(2020, 2, 3, 4, 5, 6, 789, time.UTC)
	u := b.send(UploadOptions{Path: "a/b/caf\xe9", Mode: new(uint32(0o751)), MTime: at}, "one ", "two ", "three")
	if _, err := os.Lstat(b.dir + "/a"); err == nil {
		t.Error("something is there before the end")
	}
	e, err := u.Finish(t.Context())
	if err != nil || e.Mode != 0o751 || e.Size != 13 || !e.MTime.Equal(at) {
		t.Errorf("%+v %v", e, err)
	}
	if c := b.get("a/b/caf\xe9"); c != "one two three" {
		t.Errorf("%q", c)
	}
	if u = b.reopen(u); !u.Done {
		t.Error("it is not known that it was finished")
	}
	if e, err := u.Finish(t.Context()); err != nil || e.Size != 13 {
		t.Errorf("again: %+v %v", e, err)
	}
	empty := b.send(UploadOptions{Path: "empty"})
	if _, err := empty.Finish(t.Context()); err != nil || b.get("empty") != "" {
		t.Errorf("%v", err)
	}
}

func TestUploadReplaces(t *testing.T) {
	b := newBench(t)
	b.put("f", "old")
	if err := os.Chmod(b.dir+"/f", 0o640); err != nil {
		t.Fatal(err)
	}
	_, err := b.CreateUpload(t.Context(), UploadOptions{Path: "f", Size: 3})
	want(t, err, "file_exists")
	late := b.send(UploadOptions{Path: "late"}, "mine")
	b.put("late", "theirs")
	_, err = late.Finish(t.Context())
	want(t, err, "file_exists")
	if b.get("late") != "theirs" {
		t.Error("replaced what came in between")
	}
	if err := os.Remove(b.dir + "/late"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.reopen(late).Finish(t.Context()); err != nil || b.get("late") != "mine" {
		t.Errorf("the name is free now: %v", err)
	}

	e, err := b.send(UploadOptions{Path: "f", Replace: true}, "new").Finish(t.Context())
	if err != nil || b.get("f") != "new" || e.Mode != 0o640 {
		t.Errorf("%+v %v", e, err)
	}
	b.put("folder/x", "x")
	b.link("../outside/secret", "link")
	for _, name := range []Path{"folder", "link"} {
		if _, err := b.send(UploadOptions{Path: name, Replace: true}, "new").Finish(t.Context()); err != nil || b.get(string(name)) != "new" {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.untouched()
	list, err := b.ListTrash(t.Context())
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v %v", list, err)
	}
	if c := b.get(string(trashFiles) + "/f"); c != "old" {
		t.Errorf("in the trash: %q", c)
	}
	for _, name := range b.uploads() {
		if !strings.HasSuffix(name, recordSuffix) {
			t.Errorf("%q is left", name)
		}
	}
}

func TestUploadOverwrites(t *testing.T) {
	b := newBench(t)
	b.put("f", "old")
	b.link("f", "link")
	b.put("folder/x", "x")
	if err := unix.Mkfifo(b.dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	for i, name := range []Path{"f", "link", "new"} {
		c := strings.Repeat("new", i+1)
		u := b.send(UploadOptions{Path: name, Overwrite: true}, c)
		if e, err := u.Finish(t.Context()); err != nil || b.get(string(name)) != c || e.Name != name {
			t.Errorf("%s: %+v %v", name, e, err)
		}
	}
	if b.get("f") != "newnew" {
		t.Error("the link was not followed")
	}
	_, err := b.CreateUpload(t.Context(), UploadOptions{Path: "folder", Overwrite: true})
	want(t, err, "is_a_folder")
	_, err = b.send(UploadOptions{Path: "fifo", Overwrite: true}, "x").Finish(t.Context())
	want(t, err, "not_a_file")
	// A folder that came in between stays.
	u := b.send(UploadOptions{Path: "late", Overwrite: true}, "x")
	b.put("late/x", "x")
	_, err = u.Finish(t.Context())
	want(t, err, "is_a_folder")
	if list, err := b.ListTrash(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
}

// A helper that was killed between giving the file its name and noting it.
func TestUploadKilledBeforeTheNote(t *testing.T) {
	b := newBench(t)
	u := b.send(UploadOptions{Path: "f"}, "content")
	if err := os.Rename(filepath.Join(b.dir, string(uploadsDir), u.ID), b.dir+"/f"); err != nil {
		t.Fatal(err)
	}
	if u = b.reopen(u); !u.Done {
		t.Error("not done")
	}
	// The same after an exchange: what was replaced is in the upload's place.
	b.put("g", "old")
	u = b.send(UploadOptions{Path: "g", Replace: true}, "content")
	if _, err := b.trash(t.Context(), "g", linkName); err != nil {
		t.Fatal(err)
	}
	if err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(b.dir, string(uploadsDir), u.ID), unix.AT_FDCWD, b.dir+"/g", unix.RENAME_EXCHANGE); err != nil {
		t.Skipf("SKIP(rename): this file system exchanges no names: %v", err)
	}
	if u = b.reopen(u); !u.Done || b.get("g") != "content" || b.get(string(trashFiles)+"/g") != "old" {
		t.Errorf("%+v", u)
	}
	// Bytes that vanished are not a file that was made.
	u = b.send(UploadOptions{Path: "h"}, "content")
	if err := os.Remove(filepath.Join(b.dir, string(uploadsDir), u.ID)); err != nil {
		t.Fatal(err)
	}
	b.put("h", "other")
	_, err := b.OpenUpload(t.Context(), u.ID)
	want(t, err, "no_upload")
}

func TestUploadKeepsWhatArrived(t *testing.T) {
	b := newBench(t)
	u, err := b.CreateUpload(t.Context(), UploadOptions{Path: "f", Size: 10})
	if err != nil {
		t.Fatal(err)
	}
	broken := io.MultiReader(strings.NewReader("1234"), failing{})
	if n, err := u.Append(t.Context(), broken); n != 4 || err == nil {
		t.Errorf("%d %v", n, err)
	}
	_, err = b.reopen(u).Finish(t.Context())
	want(t, err, "not_whole")
	// More than belongs to it is not read.
	rest := strings.NewReader("567890xxx")
	if n, err := u.Append(t.Context(), rest); n != 6 || err != nil || rest.Len() != 3 {
		t.Errorf("%d %v", n, err)
	}
	if _, err := b.reopen(u).Finish(t.Context()); err != nil || b.get("f") != "1234567890" {
		t.Errorf("%v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestUploadsAreJoined(t *testing.T) {
	b := newBench(t)
	one, two := b.send(UploadOptions{Part: true}, "one "), b.send(UploadOptions{Part: true}, "two")
	_, err := one.Finish(t.Context())
	want(t, err, "not_whole")
	u, err := b.CreateUpload(t.Context(), UploadOptions{Path: "f", Size: 7})
	if err != nil {
		t.Fatal(err)
	}
	whole := b.send(UploadOptions{Path: "other"}, "x")
	want(t, u.JoinUploads(t.Context(), []*Upload{whole}), "not_a_part")
	if err := u.JoinUploads(t.Context(), []*Upload{one, two}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.reopen(u).Finish(t.Context()); err != nil || b.get("f") != "one two" {
		t.Errorf("%v", err)
	}
	_, err = b.OpenUpload(t.Context(), one.ID)
	want(t, err, "no_upload")
}

func TestUploadsAreSweptWhenOld(t *testing.T) {
	b := newBench(t)
	open := b.send(UploadOptions{Path: "open"}, "x")
	done := b.send(UploadOptions{Path: "done"}, "x")
	if _, err := done.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.put(string(uploadsDir)+"/stray", "x")
	b.put(string(stagingDir)+"/half", "x")
	gone := b.send(UploadOptions{Path: "gone"}, "x")
	if err := gone.Remove(); err != nil {
		t.Fatal(err)
	}
	left := func(after time.Duration) int {
		t.Helper()
		if err := b.sweepUploads(t.Context(), time.Now().Add(after)); err != nil {
			t.Fatal(err)
		}
		return len(b.uploads())
	}
	if err := b.Sweep(t.Context()); err != nil { // as at a helper's start
		t.Fatal(err)
	}
	if s := b.staged(); len(s) != 1 || s[0] != "uploads" {
		t.Errorf("in staging: %q", s)
	}
	if n := left(time.Minute); n != 4 { // bytes and record, record, stray
		t.Errorf("%d: %q", n, b.uploads())
	}
	if n := left(strayLife + time.Minute); n != 3 {
		t.Errorf("%d: %q", n, b.uploads())
	}
	if n := left(doneLife + time.Minute); n != 2 {
		t.Errorf("%d: %q", n, b.uploads())
	}
	if b.reopen(open); left(UploadLife+time.Minute) != 0 {
		t.Errorf("%q", b.uploads())
	}
}

// What lies in the home is hostile: a record that leads elsewhere, bytes that are
// a link, a folder that is one.
func TestAbuse28_UploadsThatWereTamperedWith(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"", ".", "..", "../../f", strings.Repeat("A", 25), strings.Repeat("A", 26), strings.Repeat("A", 25) + "/"} {
		_, err := b.OpenUpload(t.Context(), id)
		want(t, err, "no_upload")
	}
	dir := filepath.Join(b.dir, string(uploadsDir))
	u := b.send(UploadOptions{Path: "f"}, "content")
	rec, err := os.ReadFile(dir + "/" + u.ID + recordSuffix)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "{", `[]`, `{"path":"../outside/secret"}`, `{"path":"/etc/passwd"}`, `{"path":"f","size":-1}`,
		string(bytes.Replace(rec, []byte(`"inode":`), []byte(`"inode":1`), 1))} {
		b.put(string(uploadsDir)+"/"+u.ID+recordSuffix, bad)
		_, err := b.OpenUpload(t.Context(), u.ID)
		want(t, err, "no_upload")
	}
	b.put(string(uploadsDir)+"/"+u.ID+recordSuffix, string(rec))
	if err := os.Remove(dir + "/" + u.ID); err != nil {
		t.Fatal(err)
	}
	b.link("../../../../../outside/secret", string(uploadsDir)+"/"+u.ID)
	if _, err := u.Append(t.Context(), strings.NewReader("x")); err == nil {
		t.Error("wrote through a link")
	}
	_, err = b.OpenUpload(t.Context(), u.ID)
	want(t, err, "no_upload")
	// The way to the target turns into a link out after the beginning.
	u = b.send(UploadOptions{Path: "way/f"}, "content")
	b.link("../outside", "way")
	_, err = u.Finish(t.Context())
	want(t, err, "outside_home")
	_, err = b.CreateUpload(t.Context(), UploadOptions{Path: "way/g", Size: 1})
	want(t, err, "outside_home")
	for _, p := range []Path{"..", "../outside/x", "/etc/x", "a/../../x", "a\x00", ".", ""} {
		if _, err := b.CreateUpload(t.Context(), UploadOptions{Path: p, Size: 1}); err == nil {
			t.Errorf("%q was taken", p)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	b.link("../../../../../outside", string(uploadsDir))
	_, err = b.CreateUpload(t.Context(), UploadOptions{Path: "g", Size: 1})
	want(t, err, "outside_home")
	if err := b.SweepUploads(t.Context()); err == nil {
		t.Error("swept outside")
	}
	b.untouched()
}
