package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"staithe/internal/hostproc"
)

func TestCopyThereAndBack(t *testing.T) {
	s := serve(t)
	l := s.laptop(t)
	l.nasty("src")
	l.run("cp", "-r", "src", ":")
	same(t, filepath.Join(l.dir, "src"), filepath.Join(s.home(), "src"))
	l.run("cp", "-r", "src", ":") // again, over itself
	l.run("cp", "-r", ":src", "back")
	same(t, filepath.Join(l.dir, "src"), filepath.Join(l.dir, "back"))
	l.run("cp", "-r", "src", ":other") // another name
	l.run("cp", "-r", ":other", ".")
	same(t, filepath.Join(l.dir, "src"), filepath.Join(l.dir, "other"))

	l.put("f", "one", 0o640)
	l.run("cp", "f", ":made/on/the/way")
	l.put("f", "two", 0o755)
	l.run("cp", "f", ":made/on/the/way")
	l.run("cp", "f", "src/plain", ":made/")
	if got := l.run("ls", "made"); got != "f\non\nplain\n" {
		t.Errorf("%q", got)
	}
	if got := l.run("cat", "made/on/the/way", "~/made/f"); got != "twotwo" {
		t.Errorf("%q", got)
	}
	l.run("cp", ":made/f", ":made/plain", ".")
	l.run("cp", ":made/f", "renamed")
	if c, err := os.ReadFile(filepath.Join(l.dir, "renamed")); err != nil || string(c) != "two" {
		t.Errorf("%q %v", c, err)
	}
	if err := syscall.Mkfifo(filepath.Join(l.dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.refused("neither file nor folder", "cp", "fifo", ":")
	l.refused("is a folder; give -r", "cp", "src", ":")
	l.refused("is a folder; give -r", "cp", ":src", ".")
	l.refused("is no folder", "cp", "f", "renamed", ":made/f")
	l.refused("Give one side", "cp", "f", "renamed")
	l.refused("Give one side", "cp", ":f", ":renamed")
	l.refused("leads out of the home", "cp", "f", ":../x")
	l.refused("no path in the home", "cat", "/etc/passwd")
	l.refused("There is no", "cat", "none")
	l.refused("There is no", "cp", ":none\x1b[31m", ".")
}

// A name that a terminal would obey is shown inert on one, and is itself in a pipe.
func TestAbuse27_NamesOnTheCommandLine(t *testing.T) {
	s := serve(t)
	l := s.laptop(t)
	l.nasty("src")
	l.run("cp", "-r", "src", ":")
	names := strings.Split(l.run("ls", "-0", "-a", "src"), "\x00")
	entries, err := os.ReadDir(filepath.Join(l.dir, "src"))
	if err != nil || len(names) != len(entries)+1 {
		t.Fatalf("%q %v", names, err)
	}
	have := map[string]bool{}
	for _, n := range names {
		have[n] = true
	}
	for _, e := range entries {
		if !have[e.Name()] {
			t.Errorf("%q is not listed", e.Name())
		}
	}
	for _, args := range [][]string{{"ls", "src"}, {"ls", "-la", "src"}, {"cp", ":src/none\x1b]0;pwned\x07", "x"}} {
		c := startConsole(t, s, args...)
		c.code()
		c.ended()
		if got := c.text(); strings.ContainsAny(got, "\x1b\x07\u202e") {
			t.Errorf("%q: %q", args, got)
		}
	}
	l.put("evil", "a\x1b]0;pwned\x07b\r\n", 0o600)
	l.run("cp", "evil", ":evil")
	c := startConsole(t, s, "cat", "evil")
	c.see(`a\033]0;pwned\007b\015`)
	if got := l.run("cat", "evil"); got != "a\x1b]0;pwned\x07b\r\n" {
		t.Errorf("%q", got)
	}
	if _, err := os.Stat(filepath.Join(l.dir, "pwned")); err == nil {
		t.Error("a name was executed")
	}
}

func TestSync(t *testing.T) {
	s := serve(t)
	l := s.laptop(t)
	l.nasty("src")
	src, there := filepath.Join(l.dir, "src"), filepath.Join(s.home(), "dst")
	if out := l.run("sync", "-n", "src", ":dst"); !strings.Contains(out, "new     plain\n") || strings.ContainsAny(out, "\x1b\x07") {
		t.Errorf("%q", out)
	}
	if _, err := os.Lstat(there); err == nil {
		t.Error("a dry run made something")
	}
	l.run("sync", "src", ":dst")
	same(t, src, there)
	if out := l.run("sync", "src", ":dst"); !strings.HasSuffix(out, " the same, 0 sent, 0 taken away\n") {
		t.Errorf("%q", out)
	}
	// Kinds that change places, modes alone, contents of the same size.
	for _, name := range []string{"src/plain", "src/absolute", "src/deep/er/f", "src/-rf"} {
		if err := os.Remove(filepath.Join(l.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	l.put("src/plain/now/a/folder", "x", 0o600)
	l.put("src/absolute", "now a file", 0o600)
	if err := os.Symlink("elsewhere", filepath.Join(src, "-rf")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(src, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	l.put("src/closed/f", "another", 0o600)
	if err := os.Chmod(filepath.Join(src, "closed"), 0o500); err != nil {
		t.Fatal(err)
	}
	l.put("src/100%", strings.Repeat("y", 7), 0o400)
	if err := os.Chmod(filepath.Join(src, "with space"), 0o700); err != nil {
		t.Fatal(err)
	}
	l.run("sync", "src", ":dst")
	if _, err := os.Lstat(filepath.Join(there, "deep/er/f")); err != nil {
		t.Error("something was deleted without --delete")
	}
	l.run("sync", "--delete", "src", ":dst")
	same(t, src, there)
	if got := l.run("ls", "-a", ".local/share/Trash/files"); !strings.Contains(got, "f\n") {
		t.Errorf("what was deleted is not in the trash: %q", got)
	}
	// And the other way round.
	l.run("sync", ":dst", "back")
	same(t, src, filepath.Join(l.dir, "back"))
	l.put("back/more", "x", 0o600)
	if err := os.Remove(filepath.Join(l.dir, "back/absolute")); err != nil {
		t.Fatal(err)
	}
	l.put("back/absolute/folder", "x", 0o600)
	if out := l.run("sync", "--delete", ":dst", "back"); !strings.HasSuffix(out, " 1 sent, 2 taken away\n") {
		t.Errorf("%q", out)
	}
	same(t, src, filepath.Join(l.dir, "back"))
}

// A large copy says how far it is, goes on when the gateway is killed, and, when
// it was ended itself, goes on another time.
func TestCopySurvivesKills(t *testing.T) {
	s := serve(t)
	l := s.laptop(t)
	large := made(t, l.dir, "large", 200<<20)
	hit := func(path string, args ...string) {
		t.Helper()
		cmd := l.command(args...)
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		grown(t, path, 20<<20)
		s.kill()
		s.killHelpers()
		s.again()
		if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), "connection lost") {
			t.Errorf("%v: %s", err, said.String())
		}
	}
	l.run("ls") // makes the home
	hit(filepath.Join(s.home(), ".local/share/staithe/staging/uploads/*"), "cp", "large", ":up")
	s.arrived("up", large)
	hit(filepath.Join(l.dir, ".staithe-*.part"), "cp", ":up", "down")
	same(t, large, filepath.Join(l.dir, "down"))

	// The command itself is killed; another run goes on.
	for _, c := range []struct {
		grows, final string
		by           os.Signal
		args         []string
	}{
		{filepath.Join(s.home(), ".local/share/staithe/staging/uploads/*"), filepath.Join(s.home(), "later"), os.Kill, []string{"cp", "large", ":later"}},
		{filepath.Join(s.home(), ".local/share/staithe/staging/uploads/*"), filepath.Join(s.home(), "last"), os.Interrupt, []string{"cp", "large", ":last"}},
		{filepath.Join(l.dir, ".staithe-*.part"), filepath.Join(l.dir, "later"), os.Kill, []string{"cp", ":up", "later"}},
		{filepath.Join(l.dir, ".staithe-*.part"), filepath.Join(l.dir, "last"), os.Interrupt, []string{"cp", ":up", "last"}},
	} {
		cmd := l.command(c.args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		grown(t, c.grows, 20<<20)
		cmd.Process.Signal(c.by)
		cmd.Wait() // with an error
		if _, err := os.Lstat(c.final); err == nil {
			t.Errorf("%q: half a file", c.args)
		}
		before := inode(t, c.grows)
		l.run(c.args...)
		same(t, large, c.final)
		if after := inode(t, c.final); after != before {
			t.Errorf("%q began anew", c.args)
		}
	}
}

// inode is that of the largest file of a pattern.
func inode(t testing.TB, pattern string) (ino uint64) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, name := range names {
		info, err := os.Stat(name)
		if err == nil && info.Size() > size {
			size, ino = info.Size(), info.Sys().(*syscall.Stat_t).Ino
		}
	}
	return ino
}

// grown waits until a file of a pattern has more than so many bytes, and says how
// many.
func grown(t testing.TB, pattern string, bytes int64) int64 {
	t.Helper()
	deadline := time.Now().Add(time.Minute + time.Duration(bytes>>20)*100*time.Millisecond)
	for time.Now().Before(deadline) {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && info.Size() >= bytes {
				return info.Size()
			}
		}
		time.Sleep(time.Millisecond) // between two looks
	}
	t.Fatalf("nothing grew at %s", pattern)
	return 0
}

func TestCopySaysHowFarItIs(t *testing.T) {
	s := serve(t)
	l := s.laptop(t)
	large := made(t, l.dir, "large", 100<<20)
	l.run("ls")
	c := startConsole(t, s, "cp", large, ":large")
	grown(t, filepath.Join(s.home(), ".local/share/staithe/staging/uploads/*"), 10<<20)
	s.kill()
	c.see(" of 105 MB  connection lost; trying again")
	s.again()
	if c.code() != 0 {
		t.Errorf("%q", c.text())
	}
	c.ended()
	if got := c.text(); !strings.HasSuffix(got, "\r\x1b[K") || strings.Contains(got, "\n") {
		t.Errorf("the line was not taken away: %q", got)
	}
	s.arrived("large", large)
}

// A file of any size takes little memory, on both sides. It is as long as
// STAITHE_SOAK_UPLOAD_MB says.
func TestLargeFilesTakeLittleMemory(t *testing.T) {
	const most = 64 << 10 // KiB that a process may grow
	mb := int64(300)
	if v := os.Getenv("STAITHE_SOAK_UPLOAD_MB"); v != "" {
		var err error
		if mb, err = strconv.ParseInt(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t)
	l := s.laptop(t)
	large := filepath.Join(l.dir, "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, mb<<20); err != nil {
		t.Fatal(err)
	}
	l.run("ls")
	gateway, helper := peak(t, s.cmd.Process.Pid), peak(t, s.helper())
	begun := time.Now()
	cmd := l.command("cp", large, ":large")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	grown(t, filepath.Join(s.home(), ".local/share/staithe/staging/uploads/*"), mb<<20*9/10)
	client := peak(t, cmd.Process.Pid) // nearly at its end
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(s.home(), "large")); err != nil || info.Size() != mb<<20 {
		t.Fatalf("%v %v", info, err)
	}
	took := time.Since(begun)
	gateway, helper = peak(t, s.cmd.Process.Pid)-gateway, peak(t, s.helper())-helper
	t.Logf("%d MiB in %v; gateway and helper grew by %d and %d KiB, the command had %d", mb, took.Round(time.Millisecond), gateway, helper, client)
	if gateway > most || helper > most || client > most+(32<<10) {
		t.Error("that is too much")
	}
}

// helper is the process id of the one files helper.
func (s *server) helper() int {
	s.t.Helper()
	records, err := filepath.Glob(filepath.Join(s.data, "files", "*", "record.json"))
	if err != nil || len(records) != 1 {
		s.t.Fatalf("%v %v", records, err)
	}
	rec, err := hostproc.ReadRecord[hostproc.Process](records[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return rec.PID
}

// peak is the most memory that a process had, in KiB.
func peak(t testing.TB, pid int) (kb int64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}
