package oci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"staithe/internal/idmap"
	"staithe/internal/sandbox"
)

// Advice looks for what sandboxes can do without, but are the better for, with
// the data directory data. Unlike Preflight's, a check that is not OK keeps
// nobody from serving. It leaves nothing behind.
func Advice(data string) []sandbox.Check {
	checks := []sandbox.Check{adviseInotify()}
	if os.Geteuid() == 0 {
		checks = append(checks, adviseHomes(data), adviseImages(data))
	}
	return checks
}

// adviseInotify: sandboxes' instances count against root's, of which most hosts
// allow 128 in all.
func adviseInotify() sandbox.Check {
	const enough = 1024
	n := readInt("/proc/sys/fs/inotify/max_user_instances", enough)
	c := sandbox.Check{Name: "inotify", OK: n >= enough, Detail: strconv.Itoa(n) + " instances for all sandboxes together"}
	if !c.OK {
		c.Fix = "sysctl -w fs.inotify.max_user_instances=8192 (and in /etc/sysctl.d/ to keep it)"
	}
	return c
}

func adviseHomes(data string) sandbox.Check {
	c := sandbox.Check{Name: "idmapped homes", OK: true, Detail: "homes belong to uid 1000 on disk and are mounted idmapped"}
	if err := idmap.Try(data); err != nil {
		c.OK, c.Detail = false, fmt.Sprintf("homes are given to their user's uid range instead: %v", err)
		c.Fix = "for homes that can be moved between servers, put the data directory on ext4, xfs or btrfs, with Linux 5.12 or newer"
	}
	return c
}

func adviseImages(data string) sandbox.Check {
	c := sandbox.Check{Name: "images", OK: true, Detail: "overlayfs on idmapped mounts works"}
	if err := tryOverlay(data); err != nil {
		c.OK, c.Detail = false, fmt.Sprintf("session classes with an image cannot start: %v", err)
		c.Fix = "put the data directory on ext4, xfs or btrfs, with Linux 5.19 or newer"
	}
	return c
}

// tryOverlay mounts an overlay on an idmapped folder where nobody sees it.
func tryOverlay(data string) (err error) {
	dir, err := os.MkdirTemp(data, ".overlay-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"image", "lower", "upper", "work"} {
		if err := os.Mkdir(path(name), 0o755); err != nil {
			return err
		}
	}
	space, err := idmap.Namespace(idmap.ImageIDs(0))
	if err != nil {
		return err
	}
	defer space.Close()
	t, err := newMountThread(func() error {
		if err := mountMapped(path("image"), path("lower"), space, 0); err != nil {
			return err
		}
		return mountOverlay(path("lower"), path("upper"), path("work"), path("root"))
	})
	if err != nil {
		return err
	}
	t.close() // and with it its mounts
	return nil
}
