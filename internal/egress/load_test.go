package egress_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"staithe/internal/egress"
)

// memory is what a process holds, in KiB, by a line of its /proc files.
func memory(t testing.TB, pid int, file, key string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in %s", key, file)
	return 0
}

// maxIdle and maxLoaded are what one process may hold, in KiB.
func maxIdle() int   { return (15 << 10) * memoryFactor() }
func maxLoaded() int { return (192 << 10) * memoryFactor() }

// memoryFactor is how much more a program holds under the race detector: it keeps
// four words of history for each of memory that was touched, and more.
func memoryFactor() int {
	if raceDetector {
		return 6
	}
	return 1
}

func TestAnIdleProcessIsSmall(t *testing.T) { onBothPaths(t, testAnIdleProcessIsSmall) }

func testAnIdleProcessIsSmall(t *testing.T, path egress.Path) {
	e := newEgress(t, path)
	b, spec := connected(t, e, internet)
	if r := b.do(order{Do: "dial", Addr: webAddr + ":7", Send: "hello\n"}); r.Got != "hello\n" {
		t.Fatalf("%+v", r)
	}
	rss := memory(t, running(t, e, spec.Session).PID, "status", "VmRSS")
	t.Logf("%d KiB resident", rss)
	if rss > maxIdle() {
		t.Errorf("an idle process holds %d KiB, more than %d", rss, maxIdle())
	}
}

func TestAbuse36_FloodsAreBounded(t *testing.T) { onBothPaths(t, testAbuse36_FloodsAreBounded) }

func testAbuse36_FloodsAreBounded(t *testing.T, path egress.Path) {
	e := newEgress(t, path)
	calm, _ := connected(t, e, internet)
	b, spec := connected(t, e, internet)
	pid := running(t, e, spec.Session).PID
	bounded := func(what string) {
		t.Helper()
		rss := memory(t, pid, "status", "VmRSS")
		t.Logf("after %s: %d KiB resident", what, rss)
		if rss > maxLoaded() {
			t.Errorf("after %s it holds %d KiB, more than %d", what, rss, maxLoaded())
		}
		if r := calm.do(order{Do: "dial", Addr: webAddr + ":7", Send: "calm\n"}); r.Got != "calm\n" {
			t.Errorf("after %s a neighbour suffers: %+v", what, r)
		}
	}
	// Connections that fill their buffers: nobody reads on either side.
	r := b.do(order{Do: "flood", Addr: webAddr + ":19", Name: "c", N: 1000})
	if r.N < 900 {
		t.Errorf("only %d connections came to be", r.N)
	}
	bounded("1,000 connections that are not read")
	b.do(order{Do: "flood", Addr: webAddr + ":7", Name: "d", N: 400})
	st, err := e.Status(t.Context(), spec.Session)
	if err != nil || st.Connections > 1024+512 ||
		!slices.ContainsFunc(st.Refused, func(r egress.Refusal) bool { return strings.Contains(r.Why, "too many connections") }) {
		t.Errorf("%d connections, %+v %v", st.Connections, st.Refused, err)
	}
	b.do(order{Do: "drop"})
	// Connections that are only begun, to where nobody answers.
	b.do(order{Do: "synflood", Addr: "93.184.216.77:80", N: 3000})
	bounded("3,000 SYNs")
	r = b.do(order{Do: "udpflood", Addr: webAddr + ":9", N: 5000})
	if r.N < 4000 {
		t.Errorf("%+v", r)
	}
	bounded("5,000 datagrams")
	for range 100 {
		r = b.do(order{Do: "dns", Addr: egress.Resolver + ":53", Name: "big.example"})
	}
	if r.Got != "truncated" || r.N > 1232 {
		t.Errorf("%+v", r)
	}
	if r = b.do(order{Do: "dns-tcp", Addr: egress.Resolver + ":53", Name: "big.example"}); len(r.Addrs) != 200 {
		t.Errorf("%d addresses, %+v", len(r.Addrs), r.Err)
	}
	bounded("large DNS answers")
	// And it goes on working for who did all this.
	if r := b.do(order{Do: "retry", Addr: webAddr + ":7", Send: "on\n"}); r.Got != "on\n" {
		t.Errorf("%+v", r)
	}
}

// BenchmarkIdleMemory measures what idle processes hold, one and twenty.
func BenchmarkIdleMemory(b *testing.B) {
	for _, n := range []int{1, 20} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			e := newEgress(b, egress.PathUserspace)
			rss, pss := 0, 0
			var pids []int
			for range n {
				_, spec := connected(b, e, internet)
				info, _, err := e.Find(b.Context(), spec.Session)
				if err != nil {
					b.Fatal(err)
				}
				pids = append(pids, info.PID)
			}
			for b.Loop() {
				rss, pss = 0, 0
				for _, pid := range pids {
					rss += memory(b, pid, "status", "VmRSS")
					pss += memory(b, pid, "smaps_rollup", "Pss")
				}
			}
			b.ReportMetric(float64(rss)/float64(n)/1024, "MiB-RSS/process")
			b.ReportMetric(float64(pss)/float64(n)/1024, "MiB-PSS/process")
		})
	}
}

// BenchmarkThroughput moves bytes from and to the internet namespace: bare, over
// one veth pair from the host's namespace, and from a sandbox.
func BenchmarkThroughput(b *testing.B) {
	const size = 256 << 20
	for _, how := range []struct{ name, do, port string }{{"download", "pull", ":19"}, {"upload", "push", ":9"}} {
		o := order{Do: how.do, Addr: webAddr + how.port, N: size}
		b.Run(how.name+"/bare", func(b *testing.B) {
			needWorld(b)
			b.SetBytes(size)
			for b.Loop() {
				if n, err := stream(o); n != size || err != nil {
					b.Fatal(n, err)
				}
			}
		})
		for _, path := range []egress.Path{egress.PathUserspace, egress.PathKernel} {
			b.Run(how.name+"/"+string(path), func(b *testing.B) {
				e := newEgress(b, path)
				box, spec := connected(b, e, internet)
				if st, err := e.Status(b.Context(), spec.Session); err != nil || st.Path != path {
					b.Fatal(st, err)
				}
				b.SetBytes(size)
				for b.Loop() {
					if r := box.do(o); r.N != size || r.Err != "" {
						b.Fatalf("%+v", r)
					}
				}
			})
		}
	}
}

// BenchmarkStart measures how long a sandbox waits for its network.
func BenchmarkStart(b *testing.B) {
	for _, path := range []egress.Path{egress.PathUserspace, egress.PathKernel} {
		b.Run(string(path), func(b *testing.B) { benchmarkStart(b, path) })
	}
}

func benchmarkStart(b *testing.B, path egress.Path) {
	e := newEgress(b, path)
	box := newBox(b)
	spec := box.spec(internet)
	for b.Loop() {
		if err := e.Start(b.Context(), spec); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := e.Stop(b.Context(), spec.Session); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
