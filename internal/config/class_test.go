package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestClassFlagOverEnvironmentOverFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "staithe.conf")
	text := "class.ci.memory = 1g\nclass.ci.cpu = 1.5\nclass.ci.network = allow-list\nclass.ci.allow = git.example.org, *.example.net:443\nclass.standard.cpu_weight = 50\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"STAITHE_CONFIG": file, "STAITHE_CLASS": "ci.memory=2g; ci.pids = 100 ;", "STAITHE_DEFAULT_CLASS": "ci"}
	c, err := load(t, env, "--class", "ci.pids=200", "--class", "ci.idle-stop=never", "--class", "ci.pids=300")
	if err != nil {
		t.Fatal(err)
	}
	ci, ok := c.Class("ci")
	if !ok || c.DefaultClass != "ci" {
		t.Fatalf("%+v", c)
	}
	if ci.Memory != 2<<30 || ci.CPU != 1.5 || ci.PIDs != 300 || ci.IdleStop != 0 || ci.IdleFreeze != 30*time.Minute ||
		ci.CPUWeight != 50 || ci.Network != "allow-list" || !slices.Equal(ci.Allow, []string{"git.example.org", "*.example.net:443"}) || ci.BuiltIn {
		t.Errorf("%+v", ci)
	}
	var names []string
	for _, class := range c.Classes {
		names = append(names, class.Name)
	}
	if want := []string{"standard", "hardened", "ci"}; !slices.Equal(names, want) {
		t.Errorf("classes %v, want %v", names, want)
	}
	if std, _ := c.Class("standard"); std.BuiltIn || std.Memory == ci.Memory {
		t.Errorf("standard with a weight of its own: %+v", std)
	}
	if h, _ := c.Class("hardened"); h.Runtime != "runsc" || h.CPUWeight != 50 || !h.BuiltIn {
		t.Errorf("hardened starts from standard: %+v", h)
	}
}

func TestStandardClassFollowsTheMachine(t *testing.T) {
	for _, c := range []struct{ machine, memory, scratch int64 }{
		{1 << 30, 768 << 20, 192 << 20},
		{16 << 30, 12 << 30, 3 << 30},
		{256 << 30, 16 << 30, 4 << 30},
	} {
		got := standard(Host{Memory: c.machine})
		if got.Memory != c.memory || got.Scratch != c.scratch {
			t.Errorf("%s: memory %s, scratch %s", FormatSize(c.machine), FormatSize(got.Memory), FormatSize(got.Scratch))
		}
	}
}

// A container's limit counts where there is one; a machine's own files do not
// get in the way.
func TestHostMemory(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing known", nil, unknownMemory},
		{"a machine", map[string]string{"proc/meminfo": "MemTotal:       16384 kB\nMemFree: 1 kB\n"}, 16 << 20},
		{"cgroup v2", map[string]string{"proc/meminfo": "MemTotal: 16384 kB\n", "sys/fs/cgroup/memory.max": "1048576\n"}, 1 << 20},
		{"cgroup v2 without a limit", map[string]string{"proc/meminfo": "MemTotal: 16384 kB\n", "sys/fs/cgroup/memory.max": "max\n"}, 16 << 20},
		{"cgroup v1 without a limit", map[string]string{"proc/meminfo": "MemTotal: 16384 kB\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 16 << 20},
		{"broken", map[string]string{"proc/meminfo": "MemTotal: -5 kB\n"}, unknownMemory},
	} {
		root := t.TempDir()
		for name, text := range c.files {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := readHost(root).Memory; got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestClassesPrintAndLoadAgain(t *testing.T) {
	args := []string{"--class", "big.memory=1.5g", "--class", "big.cpu=unlimited", "--class", "big.disk=10g", "--class", "big.sudo=yes",
		"--class", "big.base=debian", "--class", "big.idle-freeze=90s", "--class", "big.scratch=unlimited", "--class", "big.allow=10.0.0.0/8,[::1]",
		"--class", "hardened.io-weight=10", "--default-class", "big"}
	c, err := load(t, map[string]string{}, args...)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"class.big.memory = 1536m\n", "class.big.cpu = unlimited\n", "class.big.idle-freeze = 1m30s\n", "class.big.idle-stop = 24h\n",
		"class.standard.network = auto\n", "class.hardened.runtime = runsc\n", "default-class = big\n", "class.big.runtime = default\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	file := filepath.Join(t.TempDir(), "c")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := load(t, map[string]string{"STAITHE_CONFIG": file})
	if err != nil || !reflect.DeepEqual(c, again) {
		t.Errorf("%v\n%+v\n%+v", err, c, again)
	}
}

func TestClassRefusals(t *testing.T) {
	for _, c := range []struct{ set, says string }{
		{"standard", "NAME.FIELD=VALUE"},
		{"standard=1", "NAME.FIELD=VALUE"},
		{"Big.memory=1g", "class name"},
		{"my_class.memory=1g", "class name"},
		{".memory=1g", "class name"},
		{"big.colour=red", "it has runtime, base"},
		{"big.memory=lots", "class.big.memory"},
		{"big.memory=0", "unlimited"},
		{"big.memory=0.1k", "too little"},
		{"big.memory=1e9", "no size"},
		{"big.memory=-1g", "no size"},
		{"big.memory=1.5.5g", "no size"},
		{"big.memory=9999999999999t", "no size"},
		{"big.memory=1gb", "no size"},
		{"big.memory=gg", "no size"},
		{"big.cpu=0", "cores"},
		{"big.cpu=inf", "cores"},
		{"big.cpu-weight=10001", "weight"},
		{"big.pids=3", "from 16 on"},
		{"big.ptys=-1", "from 1 on"},
		{"big.sudo=perhaps", "yes nor no"},
		{"big.runtime=lxc", "default, crun"},
		{"big.base=", "image"},
		{"big.base=a b", "image"},
		{"big.network=open", "allow-list"},
		{"big.allow=exa mple.org", "host name"},
		{"big.idle-stop=0", "never"},
		{"big.idle-stop=5", "30m"},
		{"big.idle-freeze=10ms", "a second"},
	} {
		_, err := load(t, map[string]string{}, "--class", c.set)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "--class") {
			t.Errorf("--class %s: %v, want it to say %q", c.set, err, c.says)
		}
		if _, err := load(t, map[string]string{"STAITHE_CLASS": c.set}); err == nil || !strings.Contains(err.Error(), "STAITHE_CLASS") {
			t.Errorf("STAITHE_CLASS=%s: %v", c.set, err)
		}
	}
	file := filepath.Join(t.TempDir(), "c")
	if err := os.WriteFile(file, []byte("class.a.pids = 20\n# again\nclass.a.pids = 30\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, map[string]string{}, "--config", file); err == nil || !strings.Contains(err.Error(), "line 3: class.a.pids is set twice") {
		t.Error(err)
	}
	if _, err := load(t, map[string]string{}, "--default-class", "gpu"); err == nil || !strings.Contains(err.Error(), "class.gpu.") {
		t.Error(err)
	}
}

// FuzzSize: a size that is read is written and read as the same.
func FuzzSize(f *testing.F) {
	for _, s := range []string{"512m", "1.5g", "0.0001t", "17", "unlimited", "1024t", "99999999999999999999", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err != nil {
			return
		}
		if n < 0 || n > maxSize {
			t.Fatalf("%q is %d", s, n)
		}
		if again, err := ParseSize(FormatSize(n)); err != nil || again != n {
			t.Fatalf("%q is %d, prints %q, reads as %d (%v)", s, n, FormatSize(n), again, err)
		}
	})
}

// FuzzClass: any setting is a class that prints and loads as the same, or a
// sentence.
func FuzzClass(f *testing.F) {
	for _, s := range []string{"ci.memory=1g", "a.allow=*.x,[::1]:5", "standard.cpu=0.010", "x.idle-stop=1h1ns", "x.base=\"q\"", "x.allow=\"a\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		set, err := parseClassSetting(s, "test")
		if err != nil {
			return
		}
		classes, err := makeClasses(Host{Memory: 1 << 30}, []classSetting{set})
		if err != nil {
			return
		}
		var out strings.Builder
		if err := (&Config{Classes: classes}).printClasses(&out); err != nil {
			t.Fatal(err)
		}
		read := settings{values: map[string]string{}}
		for line := range strings.Lines(out.String()) {
			if err := read.add(strings.TrimSpace(line), "again"); err != nil {
				t.Fatalf("%q prints %q: %v", s, line, err)
			}
		}
		again, err := makeClasses(Host{Memory: 1 << 30}, read.classes)
		if err != nil || !reflect.DeepEqual(classes, again) {
			t.Fatalf("%q: %v\n%+v\n%+v", s, err, classes, again)
		}
	})
}
