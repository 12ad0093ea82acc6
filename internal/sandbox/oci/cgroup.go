package oci

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

const (
	cgroupRoot    = "/sys/fs/cgroup"
	unifiedCgroup = cgroupRoot + "/unified"
	cgroupParent  = "staithe" // our folder in every hierarchy
)

// cgroupLayout is how the host mounts its cgroups.
type cgroupLayout string

const (
	cgroupNone    cgroupLayout = "none"
	cgroupV1      cgroupLayout = "v1"
	cgroupV2      cgroupLayout = "v2"
	cgroupHybrid  cgroupLayout = "hybrid" // v1 with an extra v2 mount
	cgroup2Magic               = unix.CGROUP2_SUPER_MAGIC
	v1PidsControl              = cgroupRoot + "/pids"
)

func cgroupMode() cgroupLayout {
	switch {
	case fsType(cgroupRoot) == cgroup2Magic:
		return cgroupV2
	case fsType(unifiedCgroup) == cgroup2Magic:
		return cgroupHybrid
	case fsType(v1PidsControl) == unix.CGROUP_SUPER_MAGIC:
		return cgroupV1
	}
	return cgroupNone
}

func fsType(path string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0
	}
	return int64(st.Type)
}

// cgroupDirs finds what is left of a session's cgroups, on any layout.
func cgroupDirs(session station.ID) []string {
	var found []string
	for _, pattern := range []string{cgroupRoot, cgroupRoot + "/*"} {
		m, _ := filepath.Glob(filepath.Join(pattern, cgroupParent, string(session))) // the pattern is constant and good
		found = append(found, m...)
	}
	return found
}

// cgroupPIDs lists the host pids in a cgroup and those below.
func cgroupPIDs(dir string) []int {
	var pids []int
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // it may go away while we look
		}
		b, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for line := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(line); err == nil && pid > 1 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// removeCgroup removes a cgroup and those below it, deepest first. They must
// hold no process.
func removeCgroup(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		if e := unix.Rmdir(dirs[i]); e != nil && !errors.Is(e, unix.ENOENT) {
			err = &os.PathError{Op: "rmdir", Path: dirs[i], Err: e}
		}
	}
	return err
}

// warmCgroups makes the kernel ready to move a process between cgroups. The
// first move in a while waits some 10 ms for all processors to take note; a move
// of this process to where it already is does that waiting beside the engine's
// first steps. That it fails costs only time.
func warmCgroups() {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		// "8:pids:/path" on v1, "0::/path" on v2
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 || f[1] != "pids" && f[1] != "" || strings.Contains(f[2], "..") {
			continue // not one that is surely ours
		}
		procs, err := os.OpenFile(filepath.Join(cgroupRoot, f[1], f[2], "cgroup.procs"), os.O_WRONLY, 0)
		if err != nil {
			continue
		}
		_, err = procs.WriteString("0")
		procs.Close()
		if err == nil {
			return
		}
	}
}
