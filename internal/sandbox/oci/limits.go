package oci

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"staithe/internal/sandbox/confine"
	"staithe/internal/station"
)

// What a sandbox may have where its class says nothing: enough for anyone's
// work, and less than what makes the host suffer.
const (
	defaultFiles = 1 << 20
	softFiles    = 1 << 16 // many programs walk through all descriptors they could have
	// The kernel has 4,096 terminals for all sandboxes together, 1,024 of them
	// kept for the host.
	defaultPTYs = 512
	// Watches cost some 1 KiB of the kernel's memory each.
	defaultWatches = 1 << 16
	cpuPeriod      = 100_000 // microseconds
)

// bounds are the limits of one sandbox with nothing left open. Zero weights are
// the kernel's own.
type bounds struct {
	cpu                float64 // cores; 0: all
	cpuWeight          int
	ioWeight           int
	memory             int64
	pids               int64
	softFiles, files   uint64
	ptys               int
	watches, instances int // inotify
	scratch, shm       int64
}

// newBounds fills in what the class leaves open.
func newBounds(l station.Limits) bounds {
	ram := totalRAM()
	b := bounds{
		cpu: l.CPU, cpuWeight: l.CPUWeight, ioWeight: l.IOWeight,
		memory:    or(l.Memory, ram/4*3),
		pids:      int64(or(l.PIDs, confine.MaxPIDs)),
		files:     uint64(or(l.Files, defaultFiles)),
		ptys:      or(l.PTYs, defaultPTYs),
		watches:   or(l.Inotify, min(defaultWatches, readInt("/proc/sys/fs/inotify/max_user_watches", defaultWatches)/2)),
		instances: max(readInt("/proc/sys/fs/inotify/max_user_instances", 128)/4, 8),
		scratch:   or(l.Scratch, ram/8),
	}
	b.softFiles = min(b.files, softFiles)
	if l.Files > 0 {
		b.softFiles = b.files
	}
	b.shm = min(b.scratch, b.memory/2)
	return b
}

// or is a, or b where a is zero.
func or[T int | int64](a, b T) T {
	if a == 0 {
		return b
	}
	return a
}

func totalRAM() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 1 << 32 // cannot fail; should it, a modest machine
	}
	return int64(info.Totalram) * int64(info.Unit)
}

func readInt(path string, otherwise int) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return otherwise
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return otherwise
	}
	return n
}

// tmpfsSize are the options that bound a file system in memory, by size and by
// number of files: each file costs the kernel about 1 KiB, however empty.
func tmpfsSize(size int64) []string {
	return []string{fmt.Sprintf("size=%d", size), fmt.Sprintf("nr_inodes=%d", min(max(size/(16<<10), 4096), 1<<20))}
}

// resources says it to an engine, in the words of the host's cgroups. What the
// host has no controller for is left out: engines refuse it.
func (c cgroups) resources(b bounds) *specs.LinuxResources {
	res := &specs.LinuxResources{}
	if c.devices() {
		res.Devices = []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}} // engines add null, tty and the like
	}
	v2 := map[string]string{}
	if c.have[ctlPIDs] {
		res.Pids = &specs.LinuxPids{Limit: &b.pids}
	}
	if c.have[ctlMemory] {
		res.Memory = &specs.LinuxMemory{Limit: &b.memory}
		if c.hasSwapLimit() {
			res.Memory.Swap = &b.memory // together: no swap on top
		}
	}
	if c.have[ctlCPU] {
		cpu := specs.LinuxCPU{}
		if b.cpu > 0 {
			period := uint64(cpuPeriod)
			quota := max(int64(b.cpu*cpuPeriod), 1000) // the kernel's least
			cpu.Period, cpu.Quota = &period, &quota
		}
		if b.cpuWeight > 0 && c.layout == cgroupV2 {
			v2["cpu.weight"] = strconv.Itoa(b.cpuWeight)
		} else if b.cpuWeight > 0 {
			shares := min(max(uint64(b.cpuWeight)*1024/100, 2), 1<<18)
			cpu.Shares = &shares
		}
		if cpu.Quota != nil || cpu.Shares != nil {
			res.CPU = &cpu
		}
	}
	if file := c.ioWeightFile(); b.ioWeight > 0 && file != "" {
		if c.layout == cgroupV2 {
			v2[file] = "default " + strconv.Itoa(b.ioWeight)
		} else {
			weight := uint16(min(max(b.ioWeight, 10), 1000))
			res.BlockIO = &specs.LinuxBlockIO{Weight: &weight}
		}
	}
	if len(v2) > 0 {
		res.Unified = v2
	}
	return res
}

// devices says whether a cgroup can hold a list of devices. It is the second lock:
// nobody in a user namespace makes devices, and mounts that could bring some are
// nodev. On v2 the list is a BPF program, for which crun lifts a limit; a root
// without CAP_SYS_RESOURCE, as in a container, may not.
func (c cgroups) devices() bool {
	return c.layout != cgroupV2 || hasCapability(unix.CAP_SYS_RESOURCE)
}

// hasCapability says whether this process has a capability.
func hasCapability(which uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[which/32].Effective&(1<<(which%32)) != 0
}

// hasSwapLimit says whether memory and swap can be bounded together.
func (c cgroups) hasSwapLimit() bool {
	if c.layout == cgroupV2 {
		return exists("/proc/swaps")
	}
	return exists(c.root + "/memory/memory.memsw.limit_in_bytes")
}

// ioWeightFile is the file with a cgroup's share of the disks; empty when the
// kernel or the disks' scheduler has none. On v2 only cgroups below the root
// have it, so that the root's model file stands for it.
func (c cgroups) ioWeightFile() string {
	switch {
	case !c.have[ctlIO]:
	case c.layout == cgroupV2 && exists(c.root+"/io.cost.qos"):
		return "io.weight"
	case c.layout != cgroupV2 && exists(c.root+"/blkio/blkio.bfq.weight"):
		return "blkio.bfq.weight"
	case c.layout != cgroupV2 && exists(c.root+"/blkio/blkio.weight"):
		return "blkio.weight"
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// unenforced says, in words, which of the asked limits do not hold with these
// cgroups; empty when all do.
func (c cgroups) unenforced(l station.Limits) string {
	var not []string
	no := func(asked bool, what string) {
		if asked {
			not = append(not, what)
		}
	}
	no(l.CPU > 0 && !c.have[ctlCPU], "processor time")
	no(l.CPUWeight > 0 && !c.have[ctlCPU], "the share of the processors")
	no(!c.have[ctlMemory], "memory (beyond the scratch folders')")
	no(l.IOWeight > 0 && c.ioWeightFile() == "", "the share of the disk")
	if len(not) == 0 {
		return ""
	}
	why := "this host has no cgroup controller for it"
	if len(not) > 1 {
		why = "this host has no cgroup controllers for them"
	}
	if c.layout == cgroupNone {
		why = "the server has no cgroups to use"
	}
	return "not limited here: " + strings.Join(not, ", ") + " (" + why + ")"
}

// unenforced is that of the cgroups, and of what is bounded nowhere: the layer of
// a session on an image takes of the data directory's disk, which is guarded as a
// whole. A bound of its own would need a file system for each session, or memory.
func (r *Runtime) unenforced(l station.Limits, image bool) string {
	const layer = "not limited by itself: what the session changes outside of its home and scratch folders"
	not := r.cgroups.unenforced(l)
	switch {
	case !image:
		return not
	case not == "":
		return layer
	}
	return not + "; " + layer
}

// rlimits are the limits of each process.
func (b bounds) rlimits() ([]specs.POSIXRlimit, error) {
	files, err := confine.Capped(unix.RLIMIT_NOFILE, b.softFiles, b.files)
	if err != nil {
		return nil, err
	}
	return []specs.POSIXRlimit{
		// 1 byte, not 0: with 0 the kernel still starts a core_pattern program,
		// which is the host's and runs as the host's root.
		{Type: "RLIMIT_CORE", Soft: 1, Hard: 1},
		{Type: "RLIMIT_NOFILE", Soft: files.Cur, Hard: files.Max},
	}, nil
}

// limitProcesses holds a fork bomb where no cgroup does. It must come after the
// sandbox's user namespace was made: a limit from before would become that of
// all namespaces of this account together, and one session could starve the
// others. The guest has started nothing yet; what it starts inherits the limit.
func limitProcesses(pid int, most int64) error {
	procs, err := confine.Capped(unix.RLIMIT_NPROC, uint64(most), uint64(most))
	if err != nil {
		return err
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NPROC, &procs, nil); err != nil {
		return fmt.Errorf("limit the guest's processes: %w", err)
	}
	return nil
}
