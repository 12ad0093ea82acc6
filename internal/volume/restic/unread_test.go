package restic

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// What cannot be read is told: here a file whose path is longer than the system
// takes, which a program makes by going down step by step.
func TestUnreadIsTold(t *testing.T) {
	r, _ := open(t)
	try(t, r.Init(t.Context()))
	home := t.TempDir()
	try(t, os.WriteFile(filepath.Join(home, "plain"), []byte("read"), 0o600))
	name := strings.Repeat("wrong password or no key found ", 8) // which is nobody's message
	deep, err := unix.Open(home, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	try(t, err)
	for range 4096/len(name) + 1 {
		try(t, unix.Mkdirat(deep, name, 0o700))
		next, err := unix.Openat(deep, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		try(t, err)
		try(t, unix.Close(deep))
		deep = next
	}
	f, err := unix.Openat(deep, "file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	try(t, err)
	try(t, unix.Close(f))
	try(t, unix.Close(deep))
	sum, err := r.Backup(t.Context(), BackupRequest{Source: home, Of: "ws"}, nil)
	try(t, err)
	if len(sum.Unread) != 1 || sum.Unread[0].Gone || !strings.HasPrefix(sum.Unread[0].Path, name+"/") || sum.Unread[0].Why != "file name too long" {
		t.Errorf("%d files, unread %+v", sum.Files, sum.Unread)
	}
}

// A file of another account, as a sandbox makes with root's rights, cannot be read
// by a server that is not root.
func TestUnreadOfAnother(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("SKIPPED: root reads all; TestRootless has this")
	}
	r, _ := open(t)
	try(t, r.Init(t.Context()))
	home := filepath.Join(os.Getenv("HOME"), "foreign") // TestRootless makes it
	sum, err := r.Backup(t.Context(), BackupRequest{Source: home, Of: "ws"}, nil)
	try(t, err)
	if len(sum.Unread) != 1 || sum.Unread[0] != (Unread{Path: "theirs", Why: "permission denied"}) {
		t.Errorf("%d files, unread %+v", sum.Files, sum.Unread)
	}
}

// A listing that the repository has lost is damage, also where restic only warns.
func TestLostListing(t *testing.T) {
	r, o := open(t)
	try(t, r.Init(t.Context()))
	home := t.TempDir()
	away := filepath.Join(t.TempDir(), "a")
	try(t, os.MkdirAll(filepath.Join(home, "a", "b"), 0o700))
	backup := func(parent string) string {
		sum, err := r.Backup(t.Context(), BackupRequest{Source: home, Of: "ws", Parent: parent}, nil)
		try(t, err)
		return sum.ID
	}
	diff := func(a, b string) error {
		return r.Diff(t.Context(), a, b, false, true, func(Change) error { return nil })
	}
	first := backup("")
	packs, err := filepath.Glob(filepath.Join(o.Path, "data", "*", "*"))
	try(t, err)
	try(t, os.Rename(filepath.Join(home, "a"), away))
	second := backup(first)
	try(t, os.Rename(away, filepath.Join(home, "a")))
	third := backup(second) // a's own listing is the first's
	try(t, diff(second, third))
	for _, p := range packs {
		b, err := os.ReadFile(p)
		try(t, err)
		for i := range b {
			b[i] ^= 1
		}
		try(t, os.Remove(p))
		try(t, os.WriteFile(p, b, 0o400))
	}
	if err := diff(second, third); CodeOf(err) != CodeDamaged {
		t.Errorf("the listing of a folder is damaged: %v", err)
	}
	var p *station.Problem
	if err := r.warned("error: Load(<data/1>, 5, 0): connection refused\n"); CodeOf(err) != CodeUnreachable || !asProblem(err, &p) {
		t.Errorf("a store that does not answer: %v", err)
	}
	try(t, r.warned("something else\n error: no\n"))
}
