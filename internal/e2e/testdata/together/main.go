// Command together does with files what programs in two sessions do to each
// other; a test runs it in both.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func run(what string, args []string) error {
	switch what {
	case "lock": // holds a lock until a line comes
		return lock(args[0], unix.LOCK_EX)
	case "try":
		return lock(args[0], unix.LOCK_EX|unix.LOCK_NB)
	case "fcntl":
		return record(args[0])
	case "watch":
		return watch(args[0])
	case "swap": // replaces a file again and again by whole new ones, until a line comes
		return swap(args[0])
	case "whole": // reads a file again and again, and wants it whole
		return whole(args[0])
	}
	return fmt.Errorf("what is %q?", what)
}

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func line() { _, _ = bufio.NewReader(os.Stdin).ReadString('\n') } // the end is as good

func lock(path string, how int) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		return err
	}
	say("locked")
	line()
	return nil
}

// record is the other kind of lock, as SQLite has it.
func record(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: 10, Len: 10}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &l); err != nil {
		return err
	}
	say("locked")
	line()
	return nil
}

func watch(dir string) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return err
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_ATTRIB); err != nil {
		return err
	}
	say("watching")
	names := map[uint32]string{unix.IN_CREATE: "create", unix.IN_CLOSE_WRITE: "written", unix.IN_MOVED_TO: "moved", unix.IN_DELETE: "delete", unix.IN_ATTRIB: "attrib"}
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil {
			return err
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			mask := uint32(b[4]) | uint32(b[5])<<8 | uint32(b[6])<<16 | uint32(b[7])<<24
			size := unix.SizeofInotifyEvent + int(uint32(b[12])|uint32(b[13])<<8)
			name := string(bytes.TrimRight(b[unix.SizeofInotifyEvent:size], "\x00"))
			say("%s %s", names[mask&unix.IN_ALL_EVENTS], name)
			if name == "end" {
				return nil
			}
			b = b[size:]
		}
	}
}

const size = 20_000

func swap(path string) error {
	over := make(chan struct{})
	go func() {
		line()
		close(over)
	}()
	for i := 0; ; i++ {
		select {
		case <-over:
			say("swapped")
			return nil
		default:
		}
		content := strings.Repeat(string(rune('a'+i%26)), size)
		if err := os.WriteFile(path+".new", []byte(content), 0o644); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
}

func whole(path string) error {
	say("reading")
	seen := map[byte]bool{}
	for len(seen) < 5 {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(b) != size || bytes.Count(b, b[:1]) != size {
			return fmt.Errorf("%d bytes, not of one write", len(b))
		}
		seen[b[0]] = true
	}
	say("whole")
	return nil
}
