package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"staithe/internal/files"
)

// BenchmarkListFolder: a folder of 10,000 files over the API, through gateway and
// helper: the first page, as a person waits for it, and all of it at once; beside
// it what the kernel takes to read the folder and look at each name.
func BenchmarkListFolder(b *testing.B) {
	const entries = 10_000
	s := serve(b)
	c := s.bearer(s.token)
	c.must(201, "POST", "/workstation/files/folders", map[string]any{"path": "d"}, nil)
	dir := filepath.Join(s.home(), "d")
	for i := range entries {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file number %05d.txt", i)), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	ask := func(limit int, sort string) time.Duration {
		begun := time.Now()
		status, out, err := c.file("GET", "", "d", nil, "limit", fmt.Sprint(limit), "sort", sort)
		took := time.Since(begun)
		var list files.Listing
		if err == nil {
			err = json.Unmarshal(out, &list)
		}
		if status != 200 || err != nil || len(list.Entries) != limit || list.Total != entries {
			b.Fatalf("%d %.200s %v", status, out, err)
		}
		return took
	}
	ask(entries, "name") // starts the helper
	var kernel, page, whole, byTime times
	for b.Loop() {
		begun := time.Now()
		list, err := os.ReadDir(dir)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range list {
			if _, err := e.Info(); err != nil {
				b.Fatal(err)
			}
		}
		kernel = append(kernel, time.Since(begun))
		page = append(page, ask(1000, "name"))
		byTime = append(byTime, ask(1000, "mtime"))
		whole = append(whole, ask(entries, "name"))
	}
	for name, t := range map[string]times{"kernel": kernel, "page": page, "page-by-time": byTime, "whole": whole} {
		b.ReportMetric(t.quantile(0.5).Seconds()*1e3, name+"-p50-ms")
		b.ReportMetric(t.quantile(0.95).Seconds()*1e3, name+"-p95-ms")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkFileBytes: a large file written and read over the API, through gateway
// and helper, in MB/s; a write ends with a sync.
func BenchmarkFileBytes(b *testing.B) {
	const size = 64 << 20
	s := serve(b)
	c := s.bearer(s.token)
	c.put("f", "") // starts the helper
	var wrote, read time.Duration
	n := 0
	for b.Loop() {
		begun := time.Now()
		if status, out, err := c.file("PUT", "/content", "f", io.LimitReader(zeros{}, size)); status != 200 {
			b.Fatalf("%d %s %v", status, out, err)
		}
		wrote += time.Since(begun)
		begun = time.Now()
		status, out, err := c.file("GET", "/content", "f", nil)
		if status != 200 || err != nil || len(out) != size {
			b.Fatalf("%d %d bytes %v", status, len(out), err)
		}
		read += time.Since(begun)
		n++
	}
	b.ReportMetric(float64(n)*size/1e6/wrote.Seconds(), "written-MB/s")
	b.ReportMetric(float64(n)*size/1e6/read.Seconds(), "read-MB/s")
	b.ReportMetric(0, "ns/op")
}

// zeros is bytes without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// BenchmarkGitStatus: what git says of a repository of 10,000 files.
func BenchmarkGitStatus(b *testing.B) {
	s := serve(b)
	c := s.bearer(s.token)
	c.must(201, "POST", "/workstation/files/folders", map[string]any{"path": "p"}, nil)
	script := `cd p; git init -q; for i in $(seq 100); do mkdir d$i; for j in $(seq 100); do echo $i > d$i/$j; done; done; git add .; git -c user.name=a -c user.email=a@b commit -qm x; git status -s | wc -l`
	if out := shellOutput(b, s, "main", script); strings.TrimSpace(out) != "0" {
		b.Fatalf("%q", out)
	}
	var all times
	for b.Loop() {
		begun := time.Now()
		status, out, err := c.file("GET", "/git", "p", nil)
		if status != 200 || err != nil || !strings.Contains(string(out), `"entries":[]`) {
			b.Fatalf("%d %s %v", status, out, err)
		}
		all = append(all, time.Since(begun))
	}
	b.ReportMetric(all.quantile(0.5).Seconds()*1e3, "p50-ms")
	b.ReportMetric(all.quantile(0.95).Seconds()*1e3, "p95-ms")
	b.ReportMetric(0, "ns/op")
}
