package docker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// noLimits is what is not enforced by a service that is not root, with cgroups v1.
const noLimits = "with cgroups v1 a service that is not root limits neither memory nor processor, measures nothing and freezes nothing; boot the host with systemd.unified_cgroup_hierarchy=1"

// Usage asks the service for one measurement; see sandbox.Runtime.
func (r *Runtime) Usage(ctx context.Context, session station.ID) (sandbox.Usage, error) {
	u := sandbox.Usage{CPU: -1, Memory: -1, PIDs: -1, Read: -1, Write: -1, OOMKills: -1}
	info, there, err := r.Find(ctx, session)
	if err != nil {
		return u, err
	}
	if !there || !info.Running {
		return u, sandbox.NoGuest(station.ErrNotFound, errors.New("it does not run"))
	}
	m, err := r.mode(ctx)
	if err != nil {
		return u, err
	}
	if m.old {
		u.LimitsHonest = noLimits
		return u, nil
	}
	res, err := r.api.ContainerStats(ctx, r.name(session), client.ContainerStatsOptions{})
	if err != nil {
		return u, r.down(err)
	}
	defer res.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		return u, r.down(fmt.Errorf("statistics: %w", err))
	}
	u.LimitsHonest = "terminals and inotify watches are not limited"
	u.CPU = time.Duration(s.CPUStats.CPUUsage.TotalUsage)
	u.PIDs = int(s.PidsStats.Current)
	u.Memory = int64(s.MemoryStats.Usage)
	for _, key := range []string{"total_inactive_file", "inactive_file"} { // v1, v2: the page cache that can go
		if idle, ok := s.MemoryStats.Stats[key]; ok {
			u.Memory -= min(u.Memory, int64(idle))
			break
		}
	}
	u.Read, u.Write = 0, 0
	for _, e := range s.BlkioStats.IoServiceBytesRecursive {
		switch strings.ToLower(e.Op) {
		case "read":
			u.Read += int64(e.Value)
		case "write":
			u.Write += int64(e.Value)
		}
	}
	if n, err := oomKills(info.PID); err == nil {
		u.OOMKills = n
	}
	return u, nil
}

// oomKills reads from a process's memory cgroup how many the kernel ended there
// for want of memory: cgroups(7), memory.oom_control of v1, memory.events of v2.
func oomKills(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		switch {
		case strings.Contains(","+f[1]+",", ",memory,"):
			return counter(filepath.Join("/sys/fs/cgroup/memory", f[2], "memory.oom_control"))
		case f[0] == "0":
			if n, err := counter(filepath.Join("/sys/fs/cgroup", f[2], "memory.events")); err == nil {
				return n, nil
			}
		}
	}
	return 0, errors.New("no memory cgroup")
}

func counter(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if n, ok := strings.CutPrefix(s.Text(), "oom_kill "); ok {
			return strconv.ParseInt(n, 10, 64)
		}
	}
	return 0, errors.New("no count of oom_kill")
}
