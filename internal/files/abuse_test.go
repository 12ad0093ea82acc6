package files

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// all is every operation that takes a path, for attacks that must fail in each.
func (b *bench) all(p Path) map[string]error {
	ctx := b.t.Context()
	errs := map[string]error{}
	_, errs["stat"] = b.Stat(ctx, p)
	_, errs["list"] = b.List(ctx, p, ListOptions{})
	_, errs["read"] = b.read(p)
	errs["write"] = b.write(p, "attack")
	_, errs["write if"] = b.Write(ctx, p, strings.NewReader("attack"), WriteOptions{Size: -1, IfNone: true})
	_, errs["mkdir"] = b.Mkdir(ctx, p, 0, false)
	_, errs["mkdir -p"] = b.Mkdir(ctx, p, 0, true)
	_, errs["symlink"] = b.Symlink(ctx, "x", p)
	_, errs["chmod"] = b.Chmod(ctx, p, 0o777)
	_, errs["move from"] = b.Move(ctx, p, "got", false)
	_, errs["move to"] = b.Move(ctx, "mine", p, false)
	_, errs["move over"] = b.Move(ctx, "mine", p, true)
	_, errs["copy from"] = b.Copy(ctx, p, "got", 0)
	_, errs["copy to"] = b.Copy(ctx, "mine", p, 0)
	_, errs["trash"] = b.Trash(ctx, p)
	errs["delete"] = b.Delete(ctx, p)
	_, errs["archive"] = b.Archive(ctx, p, TarZst, io.Discard)
	_, errs["search"] = b.SearchContent(ctx, p, Query{Text: "secret"}, func(Match) error { return nil })
	return errs
}

func TestAbuse24_PathsThatLeadOut(t *testing.T) {
	for _, p := range []Path{"..", "../outside", "../outside/secret", "a/../../outside/secret", "/etc/passwd", "//etc", "a//b", "./a", "a/.",
		"a/..", "..\x00", "secret\x00.txt", "a/", Path(strings.Repeat("x/", 3000) + "x"), Path(strings.Repeat("n", 300))} {
		b := newBench(t)
		b.put("mine", "mine")
		b.put("a/f", "f")
		for op, err := range b.all(p) {
			if err == nil {
				t.Errorf("%s %.40q passes", op, p)
			}
			want(t, err, "bad_path")
		}
		b.untouched()
		if b.get("mine") != "mine" || b.get("a/f") != "f" {
			t.Errorf("%q changed the home", p)
		}
	}
	for _, text := range []string{"%2e%2e/outside/secret", "%2E%2E", "a/%2e%2e/x", "%2fetc%2fpasswd", "x%00y", "%2e"} {
		if p, err := ParsePath(text); err == nil && p != "." {
			t.Errorf("%q is %q", text, p)
		}
	}
}

func TestAbuse24_LinksThatLeadOut(t *testing.T) {
	for name, target := range map[string]string{"relative": "../outside", "absolute": "", "up and down": "sub/../../outside", "root": "/", "proc": "/proc/self/root",
		"of the session": inside + "/../../outside", "loop": "link"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if target == "" {
				target = b.outside
			}
			b.put("sub/f", "f")
			b.put("mine", "mine")
			b.link(target, "link")
			for op, err := range b.all("link/secret") {
				if err == nil {
					t.Errorf("%s passes the link", op)
				}
			}
			b.untouched()
			for _, op := range []string{"list", "read", "write", "archive"} {
				if err := b.all("link")[op]; err == nil && op != "archive" && op != "read" && op != "write" {
					t.Errorf("%s passes the link itself", op)
				}
				b.untouched()
				_ = os.Remove(filepath.Join(b.dir, "link"))
				_ = os.RemoveAll(filepath.Join(b.dir, "got"))
				b.link(target, "link")
			}
			// A link in the place of the file itself.
			b.link(filepath.Join(target, "secret"), "file")
			if c, err := b.read("file"); err == nil {
				t.Errorf("read %q", c)
			}
			if err := b.write("file", "attack"); err == nil && name != "loop" {
				t.Error("written through the link")
			}
			b.untouched()
		})
	}
}

// A program in a session swaps a folder for a link to outside while the helper
// works in it: nothing outside is read, changed or removed.
func TestAbuse24_SymlinkRaces(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	b.put("mine", "mine")
	b.put("real/secret", "inside")
	b.put("real/deep/secret", "inside")
	b.link("../outside", "evil")
	a, e := filepath.Join(b.dir, "real"), filepath.Join(b.dir, "evil")
	stop := make(chan struct{})
	var swaps sync.WaitGroup
	swaps.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, e, unix.RENAME_EXCHANGE); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	reads := 0
	for range 100 {
		if c, err := b.read("real/secret"); err == nil {
			reads++
			if c == "secret" {
				t.Fatal("read outside")
			}
		}
		_ = b.write("real/planted", "attack")
		_, _ = b.Chmod(ctx, "real/secret", 0o600)
		_, _ = b.Mkdir(ctx, "real/d", 0, false)
		_ = b.Delete(ctx, "real/d")
		_, _ = b.Symlink(ctx, "x", "real/l")
		_ = b.Delete(ctx, "real/l")
		_, _ = b.Move(ctx, "mine", "real/mine", false)
		_, _ = b.Move(ctx, "real/mine", "mine", false)
		_, _ = b.SearchContent(ctx, ".", Query{Text: "secret"}, func(m Match) error {
			t.Error("found what is outside")
			return nil
		})
		var z bytes.Buffer
		if _, err := b.Archive(ctx, ".", Zip, &z); err == nil {
			noSecret(t, z.Bytes())
		}
		if _, err := b.Copy(ctx, "real", "copy", 0); err == nil {
			if c, err := os.ReadFile(filepath.Join(b.dir, "copy/secret")); err == nil && string(c) == "secret" {
				// The link itself may be copied; then this reads through it.
				if info, _ := os.Lstat(filepath.Join(b.dir, "copy")); info.IsDir() {
					t.Fatal("copied from outside")
				}
			}
		}
		_ = b.Delete(ctx, "copy")
	}
	close(stop)
	swaps.Wait()
	b.untouched()
	if reads == 0 {
		t.Error("the folder was never read: the race tested nothing")
	}
}

// noSecret fails when a file in a zip holds what is outside.
func noSecret(t *testing.T, b []byte) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if c, _ := io.ReadAll(r); string(c) == "secret" {
			t.Fatalf("%s was packed from outside", f.Name)
		}
		r.Close()
	}
}

// What is no file is never opened: a FIFO would wait for ever, a device may act.
func TestAbuse24_FIFOsSocketsDevices(t *testing.T) {
	b := newBench(t)
	names := []Path{"d/fifo", "d/socket"}
	b.put("d/file", "hello")
	if err := unix.Mkfifo(filepath.Join(b.dir, "d/fifo"), 0o666); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(b.dir, "d/socket")}); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := unix.Mknod(filepath.Join(b.dir, "d/device"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
			t.Log("no device was made:", err)
		} else {
			names = append(names, "d/device")
		}
	}
	for _, p := range names {
		_, err := b.read(p)
		want(t, err, "not_a_file")
		want(t, b.write(p, "x"), "not_a_file")
		_, err = b.Chmod(t.Context(), p, 0o600)
		want(t, err, "no_mode")
	}
	for _, format := range []Format{Zip, TarZst} {
		if done, err := b.Archive(t.Context(), "d", format, io.Discard); err != nil || len(done.Skipped) == 0 {
			t.Errorf("%s: %+v %v", format, done, err)
		}
	}
	found := 0
	if _, err := b.SearchContent(t.Context(), ".", Query{Text: "hello"}, func(Match) error { found++; return nil }); err != nil || found != 1 {
		t.Errorf("found %d: %v", found, err)
	}
	done, err := b.Copy(t.Context(), "d", "e", 0)
	if err != nil || len(done.Skipped) != len(names)-1 {
		t.Errorf("%+v %v", done, err)
	}
	if info, err := os.Lstat(filepath.Join(b.dir, "e/fifo")); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("the FIFO's copy: %v %v", info, err)
	}
}

// The folders that staithe itself writes in a home are replaced by links.
func TestAbuse25_OwnFoldersAreLinks(t *testing.T) {
	for _, name := range []string{".local", ".local/share", ".local/share/Trash", ".local/share/Trash/files", ".local/share/Trash/info",
		".local/share/staithe", ".local/share/staithe/staging"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			ctx := t.Context()
			b.put("f", "mine")
			b.put("d/f", "mine")
			b.link(b.outside, name)
			_ = b.write("f", "new")
			_, _ = b.Trash(ctx, "f")
			_, _ = b.Copy(ctx, "d", "e", 0)
			_, _ = b.ListTrash(ctx)
			_, _ = b.Restore(ctx, "secret", "got")
			_ = b.Purge(ctx, "secret")
			_ = b.Delete(ctx, "d")
			_ = b.Sweep(ctx)
			b.untouched()
			if _, err := os.Lstat(filepath.Join(b.dir, "got")); err == nil {
				t.Error("something came in from outside")
			}
		})
	}
	b := newBench(t)
	b.put("f", "mine")
	b.link(b.outside, ".local")
	want(t, b.write("f", "new"), "outside_home")
	if b.get("f") != "mine" {
		t.Error("half written")
	}
}

// What another program writes into the trash's info is only a place in the home.
func TestAbuse25_ForgedTrashInfo(t *testing.T) {
	b := newBench(t)
	b.link("../outside", "evil")
	for i, where := range []string{"../outside/x", "/etc/x", "%2e%2e/outside/x", inside + "/../../x", "a%00b", "", "evil/x", "evil/new/x", "."} {
		id := string(rune('a' + i))
		b.put(string(trashFiles)+"/"+id, "attack")
		b.put(string(trashInfo)+"/"+id+infoSuffix, "[Trash Info]\nPath="+where+"\n")
		if _, err := b.Restore(t.Context(), Path(id), ""); err == nil {
			t.Errorf("restored to %q", where)
		}
		b.untouched()
	}
	for _, id := range []Path{"..", ".", "", "a/b", "../../../f", "x\x00"} {
		_, err := b.Restore(t.Context(), id, "x")
		want(t, err, "bad_id")
		want(t, b.Purge(t.Context(), id), "bad_id")
	}
}

// hostileNames are what a file can be called to harm those who show or run it.
var hostileNames = []Path{"$(touch pwned)", "-rf", "--help", "a\nb", "\x1b]0;title\x07", "`id`", "; rm -rf ~", "caf\xe9", "\xff", " ", "'\"", "%s%n", "con\u202etxt.exe", "*", "~", `..\..\evil`, `C:\x`}

func TestAbuse27_HostileNamesAreInert(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	for _, name := range hostileNames {
		if err := b.write(name, "content"); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if c, err := b.read(name); err != nil || c != "content" {
			t.Errorf("%q: %q %v", name, c, err)
		}
		for _, err := range []error{second(b.Mkdir(ctx, name, 0, false)), second(b.Stat(ctx, name+"/x")), second(b.Restore(ctx, name, ""))} {
			if err == nil || strings.ContainsAny(err.Error(), "\n\x1b\x07") || !utf8.ValidString(err.Error()) {
				t.Errorf("%q: the error says %q", name, err)
			}
		}
	}
	if got := b.list(".", ListOptions{Hidden: true}); len(got) != len(hostileNames)+1 { // and .local
		t.Errorf("%d names: %q", len(got), got)
	}
	for _, name := range hostileNames {
		item, err := b.Trash(ctx, name)
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if strings.Count(b.get(string(trashInfo)+"/"+string(item.ID)+infoSuffix), "\n") != 3 {
			t.Errorf("%q made lines of its own in the trash", name)
		}
		if e, err := b.Restore(ctx, item.ID, ""); err != nil || e.Path != name {
			t.Errorf("%q comes back as %q: %v", name, e.Path, err)
		}
	}
	if _, err := os.Stat(filepath.Join(b.dir, "pwned")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a name was run")
	}
}

// An archive of such names unpacks below the folder that it is unpacked in, and
// all of it comes out.
func TestAbuse27_ArchivesOfHostileNames(t *testing.T) {
	b := newBench(t)
	for _, name := range hostileNames {
		b.put("d/"+string(name), "content")
	}
	var z bytes.Buffer
	if _, err := b.Archive(t.Context(), "d", Zip, &z); err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(z.Bytes()), int64(z.Len()))
	if err != nil || len(r.File) != len(hostileNames)+1 {
		t.Fatalf("%d files: %v", len(r.File), err)
	}
	for _, f := range r.File {
		if !strings.HasPrefix(f.Name, "d/") || strings.Contains(f.Name, `\`) || strings.Contains(f.Name, "../") {
			t.Errorf("%q", f.Name)
		}
	}
	b.unpack("d")
	for _, name := range hostileNames {
		if got := b.get("../unpacked/d/" + string(name)); got != "content" {
			t.Errorf("%q: %q", name, got)
		}
	}
}

// unpack packs p and has tar and zstd unpack it beside the home.
func (b *bench) unpack(p Path) Packed {
	b.t.Helper()
	to := filepath.Join(filepath.Dir(b.dir), "unpacked")
	if err := os.MkdirAll(to, 0o755); err != nil {
		b.t.Fatal(err)
	}
	var packed bytes.Buffer
	done, err := b.Archive(b.t.Context(), p, TarZst, &packed)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := exec.LookPath("zstd"); err != nil {
		b.t.Skip("zstd is not installed: no other program unpacks the archive")
	}
	plain := exec.CommandContext(b.t.Context(), "zstd", "-dc")
	plain.Stdin = &packed
	raw, err := plain.Output()
	if err != nil {
		b.t.Fatal(err)
	}
	tar := exec.CommandContext(b.t.Context(), "tar", "-x", "-p", "--no-same-owner", "--xattrs", "-f", "-", "-C", to)
	tar.Stdin = bytes.NewReader(raw)
	if out, err := tar.CombinedOutput(); err != nil {
		b.t.Fatalf("tar: %v: %s", err, out)
	}
	return done
}

func second[T any](_ T, err error) error { return err }

// A canceled request leaves nothing half made.
func TestAbuse28_BrokenConnections(t *testing.T) {
	b := newBench(t)
	b.put("f", "old")
	b.put("d/f", "x")
	broken := io.MultiReader(strings.NewReader("half"), errorReader{})
	for _, p := range []Path{"f", "new"} {
		if _, err := b.Write(t.Context(), p, broken, WriteOptions{Size: -1}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v", err)
		}
		_, err := b.Write(t.Context(), p, strings.NewReader("half"), WriteOptions{Size: 8})
		want(t, err, "cut_off")
		_, err = b.Write(t.Context(), p, strings.NewReader("too much"), WriteOptions{Size: 4})
		want(t, err, "cut_off")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Copy(ctx, "d", "e", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if got := b.list(".", ListOptions{}); len(got) != 2 || b.get("f") != "old" || len(b.staged()) != 0 {
		t.Errorf("%q, %q, staging %q", got, b.get("f"), b.staged())
	}
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
