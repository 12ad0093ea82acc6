package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"staithe/internal/muxclient"
	"staithe/internal/muxclient/muxtest"
	"staithe/internal/station"
	"staithe/internal/wire"
)

// bombs are what a hostile neighbour runs. Each goes on until it is killed.
var bombs = []struct{ name, script string }{
	{"none", "exec sleep infinity"},
	{"fork", "bomb() { bomb | bomb & }; while :; do bomb; done 2>/dev/null"},
	{"memory", "while :; do head -c 100G /dev/zero | tail; done 2>/dev/null"},
	{"disk", "while :; do dd if=/dev/zero of=$HOME/bomb bs=1M count=512 conv=fsync; rm -f $HOME/bomb; done 2>/dev/null"},
}

// BenchmarkEchoBesideBomb: the key echo of one user while another user's session
// runs a bomb, against the same with a neighbour that sleeps.
func BenchmarkEchoBesideBomb(b *testing.B) {
	for _, bomb := range bombs {
		b.Run(bomb.name, func(b *testing.B) {
			s := serve(b, "STAITHE_CLASS=standard.memory=1g")
			bob := s.user("bob")
			var v station.Session
			bob.must(201, "POST", "/sessions", map[string]string{"name": "bomb"}, &v)
			a := &arrivals{make(chan arrival, 64)}
			st, err := s.mux("main").Open(b.Context(), wire.Open{Cols: 80, Rows: 24, Command: []string{"/bin/sh", "-c", rawEcho}}, a)
			if err != nil {
				b.Fatal(err)
			}
			<-a.got
			bob.must(201, "POST", "/sessions/bomb/tabs", map[string]any{"command": []string{"/bin/bash", "-c", bomb.script}}, nil)
			<-time.After(2 * time.Second) // until it has grown
			var ours times
			for b.Loop() {
				begun := time.Now()
				st.Write([]byte{'k'})
				ours = append(ours, (<-a.got).at.Sub(begun))
				b.StopTimer()
				<-time.After(2 * time.Millisecond) // a typist, not a flood
				b.StartTimer()
			}
			ours.report(b, "echo")
			b.StopTimer()
			bob.must(204, "DELETE", "/sessions/bomb", nil, nil)
		})
	}
}

// user makes another user and returns a client with a token of theirs.
func (s *server) user(name string) *client {
	s.t.Helper()
	s.bearer(s.token).must(201, "POST", "/users", map[string]string{"username": name, "password": password}, nil)
	c := s.client()
	c.must(200, "POST", "/login", map[string]string{"username": name, "password": password}, nil)
	var tok struct{ Token string }
	c.must(201, "POST", "/tokens", map[string]any{"name": "test", "scopes": []string{"*"}}, &tok)
	return s.bearer(tok.Token)
}

// BenchmarkManySessions: 200 running sessions of five users, each with a shell:
// what one costs in memory and, with all of them idle, in processor time; and
// the key echo in one more beside them. One round is enough.
func BenchmarkManySessions(b *testing.B) {
	for b.Loop() {
		manySessions(b)
	}
}

func manySessions(b *testing.B) {
	const users, each, idle = 5, 40, 20 * time.Second
	s := serve(b)
	tr := newTraces(s.data)
	before := memoryInUse(b)
	begun := time.Now()
	for u := range users {
		c := s.user(fmt.Sprintf("user-%d", u))
		for i := range each {
			c.must(201, "POST", "/sessions", map[string]string{"name": fmt.Sprintf("s-%d", i)}, nil)
			c.must(201, "POST", fmt.Sprintf("/sessions/s-%d/tabs", i), map[string]any{}, nil)
		}
	}
	b.ReportMetric(time.Since(begun).Seconds()*1e3/(users*each), "ms/session")
	<-time.After(5 * time.Second) // until all have settled
	b.ReportMetric(float64(memoryInUse(b)-before)/1024/(users*each), "MiB/session")
	all := tr.processes(b)
	for name, is := range map[string]func(process) bool{"guest": isGuest, "egress": isEgress, "shell": isShell} {
		var pss sum
		for _, p := range all {
			if is(p) {
				pss.add(proportionalKiB(p.pid))
			}
		}
		b.ReportMetric(pss.mean()/1024, "MiB-"+name+"-pss")
	}
	used := func() (total int) {
		for _, p := range all {
			total += ticks(p.pid)
		}
		return total
	}
	from := used()
	<-time.After(idle)
	b.ReportMetric(float64(used()-from)/idle.Seconds(), "%-of-a-core-all-idle")
	a := &arrivals{make(chan arrival, 64)}
	st, err := s.mux("main").Open(b.Context(), wire.Open{Cols: 80, Rows: 24, Command: []string{"/bin/sh", "-c", rawEcho}}, a)
	if err != nil {
		b.Fatal(err)
	}
	<-a.got
	var echo times
	for range 2000 {
		begun := time.Now()
		st.Write([]byte{'k'})
		echo = append(echo, (<-a.got).at.Sub(begun))
	}
	echo.report(b, "echo")
}

func isShell(p process) bool { return strings.HasPrefix(p.cmdline, "/bin/bash") }

// sum adds up and knows the mean.
type sum struct {
	total float64
	n     int
}

func (s *sum) add(v int) { s.total += float64(v); s.n++ }

func (s *sum) mean() float64 {
	if s.n == 0 {
		return 0
	}
	return s.total / float64(s.n)
}

// memoryInUse is what the whole machine uses, in KiB.
func memoryInUse(b *testing.B) int {
	b.Helper()
	return field(b, "/proc/meminfo", "MemTotal:") - field(b, "/proc/meminfo", "MemAvailable:")
}

func field(b *testing.B, file, name string) int {
	b.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatalf("%s has no %s", file, name)
	return 0
}

// proportionalKiB is a process's memory with what it shares divided among those
// who share it; 0 when it is gone.
func proportionalKiB(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
			n, _ := strconv.Atoi(f[1]) // the kernel wrote it
			return n
		}
	}
	return 0
}

// ticks is a process's processor time in hundredths of a second; 0 when it is gone.
func ticks(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return user + system
}

// fileJobs are what people do to many files at once; each prints the seconds it
// took. "$1" is a folder to work in.
var fileJobs = []struct{ name, script string }{
	{"untar-5000", `cd "$1" && mkdir src && for i in $(seq 50); do mkdir src/$i; for j in $(seq 100); do echo "$i $j" > src/$i/$j; done; done && tar cf src.tar src && rm -r src
		a=$(date +%s%N); tar xf src.tar; b=$(date +%s%N); rm -r src src.tar; echo took $(((b-a)/1000)) us`},
	{"git-commit", `cd "$1" && rm -rf repo && mkdir repo && cd repo && git init -q . && for i in $(seq 1000); do echo $i > f$i; done
		a=$(date +%s%N); git add . && git -c user.name=x -c user.email=x@example.org commit -qm x && git status --short; b=$(date +%s%N); cd .. && rm -rf repo; echo took $(((b-a)/1000)) us`},
	{"find-usr", `a=$(date +%s%N); find /usr/share /usr/lib -type f | wc -l > /dev/null; b=$(date +%s%N); echo took $(((b-a)/1000)) us`},
}

// BenchmarkFiles: file work in a session's home against the same in a plain
// folder of the same file system, taken in turns.
func BenchmarkFiles(b *testing.B) {
	for _, runtime := range []string{"crun", "runc", "runsc"} {
		if _, err := exec.LookPath(runtime); err != nil {
			b.Logf("SKIPPED: %s is not installed", runtime)
			continue
		}
		s := serve(b, "STAITHE_RUNTIME="+runtime)
		c := s.mux("main")
		for _, job := range fileJobs {
			b.Run(runtime+"/"+job.name, func(b *testing.B) {
				var bare, ours times
				for b.Loop() {
					dir := filepath.Join(s.data, "bare")
					if err := os.MkdirAll(dir, 0o755); err != nil {
						b.Fatal(err)
					}
					out, err := exec.Command("/bin/sh", "-c", job.script, "sh", dir).Output()
					if err != nil {
						b.Fatal(err)
					}
					bare = append(bare, took(b, string(out)))
					ours = append(ours, took(b, inTab(b, c, job.script)))
				}
				b.ReportMetric(bare.quantile(0.5).Seconds()*1e3, "ms-bare")
				b.ReportMetric(ours.quantile(0.5).Seconds()*1e3, "ms-session")
				b.ReportMetric(float64(ours.quantile(0.5))/float64(bare.quantile(0.5)), "×bare")
			})
		}
	}
}

// inTab runs a script in a tab and returns what it put out.
func inTab(b *testing.B, c *muxclient.Client, script string) string {
	b.Helper()
	sink := muxtest.New()
	st, err := c.Open(b.Context(), wire.Open{Cols: 200, Rows: 24, Command: []string{"/bin/sh", "-c", script, "sh", "."}}, sink)
	if err != nil {
		b.Fatal(err)
	}
	<-st.Done()
	return sink.Text()
}

func took(b *testing.B, out string) time.Duration {
	b.Helper()
	var us int64
	_, after, ok := strings.Cut(out, "took ")
	if _, err := fmt.Sscanf(after, "%d us", &us); !ok || err != nil {
		b.Fatalf("it said %q", out)
	}
	return time.Duration(us) * time.Microsecond
}
