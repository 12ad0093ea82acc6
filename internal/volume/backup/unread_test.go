package backup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

// A file that cannot be read is said to be missing and is pending, and is kept by
// itself when it can be read, without a word of the watch.
func TestUnreadIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.settled()
	// Its path is longer than the system takes.
	name := strings.Repeat("d", 250)
	at, err := unix.Open(b.home, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { unix.Close(at) }()
	for range 17 {
		if err := unix.Mkdirat(at, name, 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(at, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(at)
		at = next
	}
	f, err := unix.Openat(at, "file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(f)
	begin := time.Now()
	b.tell(name)
	left := func(s station.BackupState) bool {
		for _, l := range s.Left {
			if strings.HasPrefix(l.Rule, name) && strings.Contains(l.Why, "file name too long") {
				return true
			}
		}
		return false
	}
	s := b.until("it is said", time.Minute, func(s station.BackupState) bool { return s.Safe.After(begin) && left(s) && s.Busy == "" })
	if s.Pending != 1 {
		t.Errorf("%d pending", s.Pending)
	}
	if err := os.Rename(filepath.Join(b.home, name, name), filepath.Join(b.home, "up")); err != nil {
		t.Fatal(err)
	}
	b.until("it is kept", time.Minute, func(s station.BackupState) bool { return s.Pending == 0 && !left(s) })
	if c := b.content("up/" + strings.Repeat(name+"/", 15) + "file"); c != "" {
		t.Errorf("%q", c)
	}
}

func TestUnreadBackoff(t *testing.T) {
	tm := Timing{}.withDefaults()
	now := time.Unix(1000, 0)
	var u unread
	one := restic.Summary{Unread: []restic.Unread{{Path: "a"}, {Path: "gone", Gone: true}}}
	for i, want := range []time.Duration{tm.Blind, 2 * tm.Blind, 4 * tm.Blind} {
		if u.took(now, one, tm); u.again.Sub(now) != want {
			t.Errorf("try %d: after %v", i, u.again.Sub(now))
		}
	}
	p := pending{}
	p.add(now, []string{"a"}, false)
	if n, m := u.besides(&pending{}), u.besides(&p); n != 1 || m != 0 {
		t.Errorf("%d and %d", n, m)
	}
	for range 30 {
		u.took(now, one, tm)
	}
	if u.again.Sub(now) != unreadMax {
		t.Error(u.again.Sub(now))
	}
	two := restic.Summary{Unread: append(one.Unread, restic.Unread{Path: "b"})}
	if u.took(now, two, tm); u.again.Sub(now) != tm.Blind || u.besides() != 2 {
		t.Errorf("%+v", u)
	}
	if u.took(now, restic.Summary{Unread: one.Unread[1:]}, tm); !u.again.IsZero() || u.besides() != 0 {
		t.Errorf("%+v", u)
	}
}
