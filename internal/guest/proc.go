package guest

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sample is one look at all processes of the sandbox but this one.
type sample struct {
	at      time.Time
	procs   map[int]process
	network uint64 // bytes that all interfaces but loopback ever carried
}

// process is what /proc says of one (proc_pid_stat(5), proc_pid_io(5)).
type process struct {
	pid, parent int
	comm        string
	start       uint64 // when it began: tells it from another of the same number
	self, kids  uint64 // processor time in 1/hertz s: its own, and its ended children's
	io          uint64 // bytes read from and written to disks
}

func look(proc string, now time.Time) sample {
	s := sample{at: now, procs: map[int]process{}, network: carried(filepath.Join(proc, "net/dev"))}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return s // no procfs: nothing is known of anything
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == self {
			continue
		}
		if p, ok := readProcess(proc, pid); ok {
			s.procs[pid] = p
		}
	}
	return s
}

// readProcess is false for one that has ended meanwhile.
func readProcess(proc string, pid int) (process, bool) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	b, err := os.ReadFile(filepath.Join(dir, "stat"))
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')') // a name may hold anything
	if err != nil || open < 0 || end < open {
		return process{}, false
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 20 {
		return process{}, false
	}
	n := func(i int) uint64 { v, _ := strconv.ParseUint(f[i-3], 10, 64); return v } // i as in the manual
	p := process{pid: pid, parent: int(n(4)), comm: string(b[open+1 : end]), start: n(22), self: n(14) + n(15), kids: n(16) + n(17)}
	io, err := os.ReadFile(filepath.Join(dir, "io"))
	if err != nil {
		return p, true // another user's: not ours to know
	}
	for line := range strings.Lines(string(io)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if name == "read_bytes" || name == "write_bytes" {
			v, _ := strconv.ParseUint(value, 10, 64)
			p.io += v
		}
	}
	return p, true
}

// carried sums what the interfaces but loopback received and sent
// (proc_pid_net(5)).
func carried(path string) (total uint64) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !ok || strings.TrimSpace(name) == "lo" || len(f) < 9 {
			continue
		}
		in, _ := strconv.ParseUint(f[0], 10, 64)
		out, _ := strconv.ParseUint(f[8], 10, 64)
		total += in + out
	}
	return total
}

// word is an argument that names what a program does: "build", "server.js".
var word = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,40}$`)

// commandName names a process as its person would: "cargo build".
func commandName(proc string, p process) string {
	f, err := os.Open(filepath.Join(proc, strconv.Itoa(p.pid), "cmdline"))
	if err != nil {
		return inert(p.comm)
	}
	defer f.Close()
	b := make([]byte, 1024)
	n, _ := f.Read(b) // what there is of it
	args := strings.Split(strings.TrimRight(string(b[:n]), "\x00"), "\x00")
	name := strings.TrimPrefix(filepath.Base(args[0]), "-") // a login shell's
	if name == "." || name == "/" {
		return inert(p.comm)
	}
	if len(args) > 1 && word.MatchString(args[1]) {
		name += " " + filepath.Base(args[1])
	}
	return shorten(inert(name), 60)
}

// maxLinks bounds how many descriptors are looked at to find a connection's
// process.
const maxLinks = 20_000

// mostConnected is the process with the most connections that leave the
// sandbox, 0 when none is found.
func mostConnected(proc string, s sample) int {
	sockets := map[string]bool{}
	for _, name := range []string{"tcp", "tcp6", "udp", "udp6"} {
		outward(filepath.Join(proc, "net", name), sockets)
	}
	best, most, left := 0, 0, maxLinks
	for _, pid := range slices.Sorted(maps.Keys(s.procs)) {
		dir := filepath.Join(proc, strconv.Itoa(pid), "fd")
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		n := 0
		for _, e := range entries {
			if left--; left < 0 {
				return best
			}
			if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && sockets[link] {
				n++
			}
		}
		if n > most {
			best, most = pid, n
		}
	}
	return best
}

// outward notes the sockets of a table in /proc/net that are connected to
// elsewhere, as the links in /proc/PID/fd name them.
func outward(path string, into map[string]bool) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() && len(into) < maxLinks {
		// sl local remote state tx:rx tr:when retrnsmt uid timeout inode …
		c := strings.Fields(lines.Text())
		if len(c) < 10 {
			continue
		}
		host, _, ok := strings.Cut(c[2], ":")
		if raw, err := hex.DecodeString(host); ok && err == nil && elsewhere(raw) {
			into["socket:["+c[9]+"]"] = true
		}
	}
}

// elsewhere says whether an address as the kernel prints it, in words of the
// machine's own order, is neither unset nor loopback. It is right for
// little-endian machines and takes loopback for elsewhere on others.
func elsewhere(raw []byte) bool {
	for i := 0; i+4 <= len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	a, ok := netip.AddrFromSlice(raw)
	return ok && !a.Unmap().IsUnspecified() && !a.Unmap().IsLoopback()
}
