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

// controller is what limits or measures one thing, by its name on v2.
type controller string

const (
	ctlCPU    controller = "cpu"
	ctlMemory controller = "memory"
	ctlPIDs   controller = "pids"
	ctlIO     controller = "io"
	ctlFreeze controller = "freezer" // a part of every v2 cgroup
)

var allControllers = []controller{ctlCPU, ctlMemory, ctlPIDs, ctlIO, ctlFreeze}

// cgroups is where the sandboxes of this process have their control groups, and
// what those can do. It never changes once made.
type cgroups struct {
	layout cgroupLayout // cgroupNone: sandboxes have none
	root   string       // where the hierarchies are mounted
	parent string       // the sandboxes' parent below each hierarchy, absolute
	have   map[controller]bool
}

// newCgroups looks what there is. A process that is not root has only what was
// delegated to it, see delegatedCgroup.
func newCgroups(root bool) cgroups {
	c := cgroups{layout: cgroupMode(), root: cgroupRoot, parent: "/" + cgroupParent, have: map[controller]bool{}}
	below := c.root
	if !root {
		own, ok := delegatedCgroup()
		if c.layout != cgroupV2 || !ok {
			c.layout = cgroupNone
			return c
		}
		c.parent = filepath.Join(own, cgroupParent)
		below = filepath.Join(c.root, own)
	}
	switch c.layout {
	case cgroupV2:
		b, _ := os.ReadFile(filepath.Join(below, "cgroup.controllers")) // unreadable: none
		for name := range strings.FieldsSeq(string(b)) {
			c.have[controller(name)] = true
		}
		c.have[ctlFreeze] = true
	case cgroupV1, cgroupHybrid:
		for _, ctl := range allControllers {
			c.have[ctl] = fsType(filepath.Join(c.root, v1Name(ctl))) == unix.CGROUP_SUPER_MAGIC
		}
	}
	return c
}

// v1Name is a controller's folder on v1.
func v1Name(ctl controller) string {
	if ctl == ctlIO {
		return "blkio"
	}
	return string(ctl)
}

// dir is a session's cgroup in the hierarchy of a controller.
func (c cgroups) dir(ctl controller, session station.ID) string {
	if c.layout == cgroupV2 {
		return filepath.Join(c.root, c.parent, string(session))
	}
	return filepath.Join(c.root, v1Name(ctl), c.parent, string(session))
}

// dirs finds what is left of a session's cgroups, on any layout.
func (c cgroups) dirs(session station.ID) []string {
	var found []string
	for _, pattern := range []string{c.root, c.root + "/*"} {
		m, _ := filepath.Glob(filepath.Join(pattern, cgroupParent, string(session))) // the pattern is constant and good
		found = append(found, m...)
	}
	if c.parent != "/"+cgroupParent {
		if dir := c.dir(ctlPIDs, session); isDir(dir) {
			found = append(found, dir)
		}
	}
	return found
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
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

// ownCgroup is this process's cgroup on v2, below the mount.
func ownCgroup() string {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok && !strings.Contains(path, "..") {
			return path
		}
	}
	return ""
}

// delegatedCgroup is the v2 cgroup below which this process, which is not root,
// may make others: systemd's Delegate=yes gives it. Where controllers are to be
// handed on, the cgroup itself may hold no process, so that the service has to
// run in one below (DelegateSubgroup=); then it is the one above ours.
func delegatedCgroup() (string, bool) {
	own := ownCgroup()
	if own == "" || own == "/" {
		return "", false
	}
	above := filepath.Dir(own)
	writable := func(path string) bool {
		dir := filepath.Join(cgroupRoot, path)
		return unix.Access(dir, unix.W_OK) == nil && unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) == nil &&
			unix.Access(filepath.Join(dir, "cgroup.subtree_control"), unix.W_OK) == nil
	}
	return above, writable(above)
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
