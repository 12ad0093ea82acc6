package e2e

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"staithe/internal/station"
)

// process is one process on the host that belongs to a server's data directory.
type process struct {
	pid     int
	cmdline string
	session string // "" when it names none
}

var sessionMark = regexp.MustCompile(`"session":"([a-z0-9]{12})"|STAITHE_SESSION=([a-z0-9]{12})`)

// traces knows a data directory and every session that it was seen to have, so
// that what is left of a deleted one is known for its own. Safe for concurrent
// use.
type traces struct {
	data string
	mu   sync.Mutex
	ids  map[string]bool
}

func newTraces(data string) *traces { return &traces{data: data, ids: map[string]bool{}} }

var idInJSON = regexp.MustCompile(`"id":"([a-z0-9]{12})"`)

// note remembers the ids in an answer of the API.
func (tr *traces) note(body []byte) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, m := range idInJSON.FindAllSubmatch(body, -1) {
		tr.ids[string(m[1])] = true
	}
}

// sessions looks again and returns all that were ever seen.
func (tr *traces) sessions(t testing.TB) []string {
	t.Helper()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, pattern := range []string{"sandboxes/*", "run/*/*", "egress/*", "parked/*"} {
		paths, err := filepath.Glob(filepath.Join(tr.data, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			if id := station.ID(filepath.Base(p)); id.Valid() {
				tr.ids[string(id)] = true
			}
		}
	}
	return slices.Collect(maps.Keys(tr.ids))
}

// processes lists the living processes that belong to the data directory: by
// what they were called with, or as a guest (or what one started) of one of its
// sessions.
func (tr *traces) processes(t testing.TB) []process {
	t.Helper()
	mine := tr.sessions(t)
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var out []process
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		// Any of these may be gone meanwhile: then it is none.
		cmdline, _ := os.ReadFile(dir + "/cmdline")
		environ, _ := os.ReadFile(dir + "/environ")
		status, _ := os.ReadFile(dir + "/status")
		if len(cmdline) == 0 || strings.Contains(string(status), "\nState:\tZ") {
			continue
		}
		p := process{pid: pid, cmdline: strings.ReplaceAll(string(cmdline), "\x00", " ")}
		if m := sessionMark.FindSubmatch(environ); m != nil {
			p.session = string(m[1]) + string(m[2])
		}
		for _, id := range mine {
			if p.session == "" && strings.Contains(p.cmdline, id) {
				p.session = id
			}
		}
		if strings.Contains(p.cmdline, tr.data) || slices.Contains(mine, p.session) {
			out = append(out, p)
		}
	}
	return out
}

// isGuest says whether a process is a session's guest, or with gVisor the sentry
// that it runs in.
func isGuest(p process) bool {
	return strings.HasPrefix(p.cmdline, "runsc-sandbox") || strings.HasPrefix(p.cmdline, "/run/staithe/guest") || strings.Contains(p.cmdline, "staithe-guest")
}

func isEgress(p process) bool { return strings.Contains(p.cmdline, "staithe-egress") }

func isEngine(p process) bool {
	argv := strings.Fields(p.cmdline)
	return len(argv) > 0 && slices.Contains([]string{"crun", "runc", "runsc"}, filepath.Base(argv[0]))
}

// leftovers lists what is on the host of the sessions that were seen, besides
// processes: mounts, cgroups, network interfaces and namespaces, firewall rules.
// Other tests run beside this one: what names neither the data directory nor a
// session of it is theirs.
func (tr *traces) leftovers(t testing.TB) []string {
	t.Helper()
	var all []string
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		all = append(all, "mount "+line)
	}
	for _, pattern := range []string{"/sys/fs/cgroup/staithe/*", "/sys/fs/cgroup/*/staithe/*", "/sys/class/net/*", "/run/netns/*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, paths...)
	}
	if nft, err := exec.LookPath("nft"); err == nil {
		rules, err := exec.Command(nft, "list", "ruleset").CombinedOutput()
		if err != nil {
			t.Fatalf("nft: %v: %s", err, rules)
		}
		for line := range strings.Lines(string(rules)) {
			all = append(all, "nft "+line)
		}
	}
	var out []string
	mine := append(tr.sessions(t), tr.data)
	for _, what := range all {
		if slices.ContainsFunc(mine, func(m string) bool { return strings.Contains(what, m) }) {
			out = append(out, strings.TrimSpace(what))
		}
	}
	return out
}
