package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/muxclient/muxtest"
	"staithe/internal/station"
	"staithe/internal/wire"
)

// homeJobs are what people do in a home; each prints how long it took. "$1" is a
// folder to work in; in it are src.tar, of 5,000 small files, repo, a repository of
// as many, and the program transactions. Each makes a folder of its own and leaves
// it: ext4 takes several times as long to make a file where others were removed
// within the last minute, which would be measured instead.
var homeJobs = []struct{ name, script string }{
	{"untar-5000", `cd "$1"; d=$(mktemp -d -p .); a=$(date +%s%N); tar xf src.tar -C $d; b=$(date +%s%N); echo took $(((b-a)/1000)) us`},
	{"git-clone", `cd "$1"; d=$(mktemp -d -p .); a=$(date +%s%N); git clone -q --no-hardlinks repo $d/clone; b=$(date +%s%N); echo took $(((b-a)/1000)) us`},
	{"copy-modules", `cd "$1"; d=$(mktemp -d -p .); a=$(date +%s%N); cp -a repo/src $d/copy; b=$(date +%s%N); echo took $(((b-a)/1000)) us`},
	{"sqlite-20000", `cd "$1"; rm -f transactions.db*; ./transactions`},
	{npmCI, `cd "$1"; d=$(mktemp -d -p .); cp node/package*.json $d; cd $d; a=$(date +%s%N); LD_LIBRARY_PATH=../node/lib ../node/node ../node/npm/bin/npm-cli.js ci --offline --ignore-scripts --no-audit --no-fund --cache ../node/cache --loglevel=error >&2; b=$(date +%s%N); echo took $(((b-a)/1000)) us`},
}

// npmCI installs what the page is built with, from a cache, by the Node of this
// machine, which the image has none of: its program and libraries are put into the folder.
const npmCI = "npm-ci"

const npmSetting = `set -e; mkdir -p "$1/node/lib"; cp -L "$(command -v node)" "$1/node/node"; cp ../../web/package.json ../../web/package-lock.json "$1/node"
	ldd "$1/node/node" | awk '$3 ~ /libstdc|libgcc|libatomic/ { print $3 }' | xargs -I{} cp -L {} "$1/node/lib"
	cp -a "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")" "$1/node/npm"
	d=$(mktemp -d); cp "$1"/node/package*.json "$d"; (cd "$d" && npm ci --prefer-offline --ignore-scripts --no-audit --no-fund --cache "$1/node/cache" --loglevel=error >&2)
	rm -rf "$d"; tar cf "$1/node.tar" -C "$1" node; echo took 1 us`

const homeSetting = `cd "$1" && mkdir -p repo/src && cd repo && git init -q . && for i in $(seq 50); do mkdir src/$i; for j in $(seq 100); do echo "$i $j" > src/$i/$j; done; done &&
	git add . && git -c user.name=x -c user.email=x@example.org commit -qm x && tar cf ../src.tar src && echo took 1 us`

// BenchmarkHome: work in a session's home against the same in a plain folder of
// the same file system, in turns; then the same while a snapshot of the home is
// being made. Each job has a server and a home of its own, of some 10,000 files at first.
func BenchmarkHome(b *testing.B) {
	for _, job := range homeJobs {
		b.Run(job.name, func(b *testing.B) { benchmarkHome(b, job.name, job.script) })
	}
}

func benchmarkHome(b *testing.B, name, script string) {
	s := serve(b, "STAITHE_BACKUPS=on")
	c := s.mux("main")
	api := s.bearer(s.token)
	bare := filepath.Join(s.data, "bare")
	if err := os.MkdirAll(bare, 0o755); err != nil {
		b.Fatal(err)
	}
	program := filepath.Join(bare, "transactions")
	build := exec.Command("go", "build", "-o", program, "./testdata/transactions")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	put := func(path, to string) {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		if status, out, err := api.file("PUT", "/content", to, f, "mode", "0755"); status != 200 {
			b.Fatalf("%d %s %v", status, out, err)
		}
	}
	put(program, "transactions")
	outside := func(script string) string {
		out, err := exec.Command("/bin/sh", "-c", script, "sh", bare).Output()
		if err != nil {
			b.Fatal(err)
		}
		return string(out)
	}
	safe := func() { // with nothing to do for the snapshots, and nothing for the disk
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			var st station.BackupState
			api.must(200, "GET", "/workstation/backups/state", nil, &st)
			if st.Busy == "" && st.Pending == 0 && !st.Safe.IsZero() {
				break
			}
		}
		unix.Sync()
	}
	outside(homeSetting)
	took(b, inTab(b, c, homeSetting))
	if name == npmCI {
		outside(npmSetting)
		put(filepath.Join(bare, "node.tar"), "node.tar")
		took(b, inTab(b, c, "tar xf node.tar && rm node.tar && echo took 1 us"))
	}

	var plain, idle, beside times
	turns := []func(){
		func() { plain = append(plain, took(b, outside(script))) },
		func() { idle = append(idle, took(b, inTab(b, c, script))) },
		func() {
			api.must(202, "POST", "/workstation/backups", nil, nil)
			beside = append(beside, took(b, inTab(b, c, script)))
		},
	}
	for round := 0; b.Loop(); round++ {
		for i := range turns { // each comes first, second and last as often as the others
			safe()
			turns[(round+i)%len(turns)]()
		}
	}
	half := func(t times) float64 { return t.quantile(0.5).Seconds() * 1e3 }
	b.ReportMetric(half(plain), "ms-bare")
	b.ReportMetric(half(idle), "ms-session")
	b.ReportMetric(half(beside), "ms-snapshot")
	b.ReportMetric(speed(plain, idle), "×bare-speed")
	b.ReportMetric(speed(plain, beside), "×bare-speed-snapshot")
	b.ReportMetric(0, "ns/op")
	b.Logf("bare %v, in a session %v, beside a snapshot %v", plain, idle, beside)
}

// speed is how fast what took b is, compared with what took a in the same round:
// the median of that, as the disk of a machine is not as fast in all rounds.
func speed(a, b times) float64 {
	var ratios []float64
	for i := range a {
		ratios = append(ratios, a[i].Seconds()/b[i].Seconds())
	}
	slices.Sort(ratios)
	n := len(ratios)
	return (ratios[(n-1)/2] + ratios[n/2]) / 2
}

// BenchmarkLossWindow: what a lost disk would cost while a program writes without
// pause: how long ago the moment is, at worst and in the middle, of which
// everything is in a verified snapshot. The home has 50,000 files; ten of them
// change each second, for two minutes.
func BenchmarkLossWindow(b *testing.B) {
	const period = 2 * time.Minute
	s := serve(b, "STAITHE_BACKUPS=on")
	c := s.mux("main")
	api := s.bearer(s.token)
	took(b, inTab(b, c, `for i in $(seq 500); do mkdir -p d/$i; for j in $(seq 100); do echo "$i $j" > d/$i/$j; done; done; echo took 1 us`))
	state := func() (st station.BackupState) {
		api.must(200, "GET", "/workstation/backups/state", nil, &st)
		return st
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if st := state(); st.Pending == 0 && st.Busy == "" && !st.Safe.IsZero() {
			break
		}
	}
	sink := muxtest.New()
	if _, err := c.Open(b.Context(), wire.Open{Cols: 80, Rows: 24, Command: []string{"/bin/sh", "-c",
		`i=0; while :; do i=$((i+1)); for j in $(seq 10); do echo $i > d/$((i%500+1))/$j; done; sleep 1; done`}}, sink); err != nil {
		b.Fatal(err)
	}
	begun := time.Now()
	var windows times
	for range tick.C {
		windows = append(windows, time.Since(state().Safe))
		if time.Since(begun) > period {
			break
		}
	}
	var list struct {
		Snapshots []station.Snapshot `json:"snapshots"`
	}
	api.must(200, "GET", "/workstation/backups", nil, &list)
	b.ReportMetric(windows.quantile(1).Seconds(), "worst-s")
	b.ReportMetric(windows.quantile(0.5).Seconds(), "p50-s")
	b.ReportMetric(float64(len(list.Snapshots)), "snapshots")
	b.ReportMetric(0, "ns/op")
}
