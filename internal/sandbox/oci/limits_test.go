package oci

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"staithe/internal/sandbox"
	"staithe/internal/sandbox/confine"
	"staithe/internal/sandbox/hostbase"
	"staithe/internal/station"
)

var someLimits = station.Limits{CPU: 1.5, CPUWeight: 50, Memory: 1 << 30, PIDs: 300, IOWeight: 200, Files: 100, PTYs: 9, Inotify: 77, Scratch: 1 << 20}

func with(layout cgroupLayout, root string, have ...controller) cgroups {
	c := cgroups{layout: layout, root: root, parent: "/staithe", have: map[controller]bool{}}
	for _, ctl := range have {
		c.have[ctl] = true
	}
	return c
}

func touch(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The same limits in the words of each layout, and nothing of a controller that
// is not there.
func TestResourcesOfEachLayout(t *testing.T) {
	v1, v2 := t.TempDir(), t.TempDir()
	touch(t, v1, map[string]string{"memory/memory.memsw.limit_in_bytes": "", "blkio/blkio.bfq.weight": ""})
	touch(t, v2, map[string]string{"io.cost.qos": ""})
	const devices = `"devices":[{"allow":false,"access":"rwm"}],`
	devicesV2 := devices
	if !hasCapability(unix.CAP_SYS_RESOURCE) {
		devicesV2 = ""
	}
	for name, c := range map[string]struct {
		c    cgroups
		l    station.Limits
		want string
	}{
		"v1": {with(cgroupV1, v1, allControllers...), someLimits,
			`{` + devices + `"memory":{"limit":1073741824,"swap":1073741824},"cpu":{"shares":512,"quota":150000,"period":100000},"pids":{"limit":300},"blockIO":{"weight":200}}`},
		"v2": {with(cgroupV2, v2, allControllers...), someLimits,
			`{` + devicesV2 + `"memory":{"limit":1073741824,"swap":1073741824},"cpu":{"quota":150000,"period":100000},"pids":{"limit":300},"unified":{"cpu.weight":"50","io.weight":"default 200"}}`},
		"v1 without swap and disk weights": {with(cgroupHybrid, t.TempDir(), allControllers...), someLimits,
			`{` + devices + `"memory":{"limit":1073741824},"cpu":{"shares":512,"quota":150000,"period":100000},"pids":{"limit":300}}`},
		"v2 with pids alone": {with(cgroupV2, v2, ctlPIDs, ctlFreeze), someLimits, `{` + devicesV2 + `"pids":{"limit":300}}`},
	} {
		if got := asJSON(t, c.c.resources(newBounds(c.l))); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

// What is left open is bounded all the same, below what the host has.
func TestDefaultsProtectTheHost(t *testing.T) {
	b := newBounds(station.Limits{})
	if ram := totalRAM(); b.memory <= 0 || b.memory >= ram || b.scratch <= 0 || 2*b.scratch+b.shm > ram/2 {
		t.Errorf("%+v of %d bytes", b, ram)
	}
	if b.pids != confine.MaxPIDs || b.ptys <= 0 || b.ptys > 1024 || b.watches <= 0 || b.instances <= 0 || b.files == 0 || b.cpu != 0 {
		t.Errorf("%+v", b)
	}
	for _, m := range baseMounts(b) {
		if m.Type == "tmpfs" && !strings.Contains(strings.Join(m.Options, ","), "size=") {
			t.Errorf("%s is not bounded", m.Destination)
		}
	}
}

func TestUnenforcedIsSaid(t *testing.T) {
	if got := with(cgroupV2, t.TempDir(), allControllers...).unenforced(station.Limits{CPU: 1, Memory: 1}); got != "" {
		t.Errorf("all there: %q", got)
	}
	got := with(cgroupNone, "").unenforced(someLimits)
	for _, word := range []string{"processor time", "memory", "share of the disk", "no cgroups"} {
		if !strings.Contains(got, word) {
			t.Errorf("%q does not say %q", got, word)
		}
	}
}

// The kernel's files as they look on each layout.
func TestUsageIsReadOnEachLayout(t *testing.T) {
	id := station.NewID()
	v1, v2 := t.TempDir(), t.TempDir()
	dir := "/staithe/" + string(id) + "/"
	touch(t, v1, map[string]string{
		"cpuacct" + dir + "cpuacct.usage":                 "1500000000\n",
		"memory" + dir + "memory.usage_in_bytes":          "5000\n",
		"memory" + dir + "memory.stat":                    "inactive_file 1\ntotal_inactive_file 1000\n",
		"memory" + dir + "memory.oom_control":             "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
		"pids" + dir + "pids.current":                     "7\n",
		"blkio" + dir + "blkio.throttle.io_service_bytes": "254:0 Read 100\n254:0 Write 20\n254:0 Discard 5\n8:0 Read 1\nTotal 126\n",
		"freezer" + dir + "freezer.state":                 "FREEZING\n",
	})
	touch(t, v2, map[string]string{
		dir + "cpu.stat":       "usage_usec 1500000\nuser_usec 1\n",
		dir + "memory.current": "5000\n",
		dir + "memory.stat":    "anon 4\ninactive_file 1000\n",
		dir + "memory.events":  "low 0\noom 4\noom_kill 3\noom_group_kill 0\n",
		dir + "pids.current":   "7\n",
		dir + "io.stat":        "254:0 rbytes=100 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n8:0 rbytes=1 wbytes=0\n",
		dir + "cgroup.freeze":  "1\n",
	})
	want := sandbox.Usage{CPU: 1500e6, Memory: 4000, PIDs: 7, Read: 101, Write: 20, OOMKills: 3}
	for name, c := range map[string]cgroups{"v1": with(cgroupV1, v1, allControllers...), "v2": with(cgroupV2, v2, allControllers...)} {
		u := sandbox.Usage{CPU: -1, Memory: -1, PIDs: -1, Read: -1, Write: -1, OOMKills: -1}
		c.measure(id, &u)
		if u != want {
			t.Errorf("%s: %+v", name, u)
		}
		if f, ok := c.freezer(id); !ok || !f.isOn() {
			t.Errorf("%s: a freeze that is under way does not show", name)
		}
	}
	u := sandbox.Usage{CPU: -1, Memory: -1, PIDs: -1, Read: -1, Write: -1, OOMKills: -1}
	none := u
	with(cgroupV2, t.TempDir(), allControllers...).measure(id, &u)
	if u != none {
		t.Errorf("measured out of nothing: %+v", u)
	}
}

// A process's name is its own choice and must not put words into our mouth.
func TestOOMRecords(t *testing.T) {
	const id = "abcdefghijkl"
	const head = "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/staithe/" + id + ",task_memcg=/staithe/" + id
	for record, want := range map[string]string{
		head + ",task=python3,pid=4194305,uid=1001000\n":                                                      "python3",
		head + ",task=x,pid=1,uid=0,pid=4194305,uid=1001000\n":                                                "x,pid=1,uid=0",
		head + ",task=\x1b[2J,task_memcg=/staithe/b,pid=4194305,uid=1\n":                                      "?[2J,task_memcg=/staithe/b",
		"6,1,2,-;oom-kill:constraint=CONSTRAINT_NONE,task_memcg=/staithe/" + id + ",task=a,pid=1,uid=0\n":     "",
		"6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/other/" + id + ",task=a,pid=1,uid=0\n":      "",
		"6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/staithe/../x,task=a,pid=1,uid=0\n":          "",
		"12,1,2,-;user text oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/staithe/" + id + ",task=a,pid=1": "",
		"": "",
	} {
		session, victim, ok := parseOOM([]byte(record))
		if ok != (want != "") || ok && (victim != want || session != id) {
			t.Errorf("%q: %q %q %v", record, session, victim, ok)
		}
	}
}

// The generated configuration as a whole holds the limits that no cgroup does.
func TestSpecHoldsLimits(t *testing.T) {
	shared, err := newSharedSpec(hostbase.Base{}, true)
	if err != nil {
		t.Fatal(err)
	}
	r := &Runtime{cgroups: with(cgroupV2, t.TempDir(), allControllers...)}
	spec := sandbox.Spec{Session: station.NewID(), UserName: "ann", Hostname: "main", Home: "/h", Guest: "/g", Limits: someLimits}
	out, err := r.spec(spec, &prepared{shared: shared, ids: rootIDs{}}, parts{limits: newBounds(someLimits), home: "/h", root: "/r"})
	if err != nil {
		t.Fatal(err)
	}
	text := asJSON(t, out)
	for _, want := range []string{`"max=9"`, `"size=1048576"`, `"RLIMIT_NOFILE","hard":100,"soft":100`, `"cgroupsPath":"/staithe/` + string(spec.Session) + `"`, `"limit":300`} {
		if !strings.Contains(text, want) {
			t.Errorf("the configuration has no %s", want)
		}
	}
	if out.Process.NoNewPrivileges != true || len(out.Process.Capabilities.Bounding) != 4 || len(out.Process.Capabilities.Ambient)+len(out.Process.Capabilities.Inheritable) != 0 {
		t.Errorf("process: %+v", out.Process)
	}
}
