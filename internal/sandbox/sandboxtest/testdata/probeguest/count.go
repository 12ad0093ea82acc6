package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// count takes as many of a thing as it gets, up to a bound that only a missing
// limit reaches, and prints how many that were.
func count(what string) error {
	const most = 20_000
	var take func(i int) error
	switch what {
	case "ptys":
		take = func(int) error { _, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0); return err }
	case "instances":
		take = func(int) error { _, err := unix.InotifyInit1(0); return err }
	case "watches":
		fd, err := unix.InotifyInit1(0)
		if err != nil {
			return err
		}
		dir, err := os.MkdirTemp("/tmp", "watches")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		take = func(i int) error {
			path := filepath.Join(dir, fmt.Sprint(i))
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			_, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY)
			return err
		}
	case "files":
		dir, err := os.MkdirTemp("/tmp", "files")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		take = func(i int) error { return os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600) }
	default:
		return fmt.Errorf("nothing to count: %s", what)
	}
	n := 0
	for n < most && take(n) == nil {
		n++
	}
	fmt.Println(n)
	return nil
}
