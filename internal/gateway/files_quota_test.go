package gateway

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"staithe/internal/volume"
)

// used is what the files in a home take of the disk, in bytes.
func (f *testFiles) used(br *browser) int64 {
	f.t.Helper()
	ws, err := f.store.Workstation(f.t.Context(), br.user.ID)
	if err != nil {
		f.t.Fatal(err)
	}
	u, err := f.volumes.Measure(f.t.Context(), ws)
	if err != nil || u.Enforced != volume.EnforcedMeasured {
		f.t.Fatalf("%+v %v", u, err)
	}
	return u.Bytes
}

// Many who write at once, with and without a length, keep the limit that no
// kernel keeps; and who is refused is told so and leaves nothing.
func TestAbuse28_QuotaUnderParallelWrites(t *testing.T) {
	const limit, each, writers = 8 << 20, 1<<20 - 7, 32
	b, f := newFilesBench(t)
	root := b.admin()
	root.must(200, "GET", filesAt, nil) // makes the home
	f.limit.Store(limit)
	content := bytes.Repeat([]byte("x"), each)
	var all sync.WaitGroup
	var stored atomic.Int64
	for i := range writers {
		all.Go(func() {
			var body io.Reader = bytes.NewReader(content)
			if i%2 == 1 {
				body = io.MultiReader(body) // its length is not known
			}
			req, err := http.NewRequest(http.MethodPut, b.base+filesAt+"/content"+at(fmt.Sprint("f", i)), body)
			if err != nil {
				t.Error(err)
				return
			}
			res, err := root.http.Do(req)
			if err != nil {
				t.Errorf("writer %d was not told: %v", i, err)
				return
			}
			defer res.Body.Close()
			out, err := io.ReadAll(res.Body)
			switch {
			case err != nil:
				t.Error(err)
			case res.StatusCode == 200:
				stored.Add(1)
			case res.StatusCode != 507 || (reply{res, out}).code() != "quota_full":
				t.Errorf("%d %s", res.StatusCode, out)
			}
		})
	}
	all.Wait()
	if n := f.used(root); n > limit {
		t.Errorf("the home holds %d bytes, %d more than it may", n, n-limit)
	}
	if n := stored.Load(); n < 1 || n > limit/each {
		t.Errorf("%d files were taken", n)
	}
	names, err := filepath.Glob(filepath.Join(f.home(root.user.ID), "f*"))
	if err != nil || int64(len(names)) != stored.Load() {
		t.Errorf("%d files are there, %d were taken: %v", len(names), stored.Load(), err)
	}
	until(t, "no half file is left", func() bool { // the helper hears of a refusal after the client
		left, err := os.ReadDir(filepath.Join(f.home(root.user.ID), ".local/share/staithe/staging"))
		return err == nil && len(left) == 0
	})
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || info.Size() != each {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	// What is deleted can be written again.
	for _, name := range names {
		root.must(204, "DELETE", filesAt+at(filepath.Base(name)), nil)
	}
	until(t, "there is room again", func() bool { return root.put("again", string(content)).StatusCode == 200 })
}

// A copy is measured first, and keeps the limit too.
func TestAbuse28_QuotaOfCopies(t *testing.T) {
	const limit = 8 << 20
	b, f := newFilesBench(t)
	root := b.admin()
	root.must(201, "POST", filesAt+"/folders", map[string]any{"path": "d"})
	for i := range 3 {
		root.put(fmt.Sprint("d/", i), string(make([]byte, 1<<20)))
	}
	f.limit.Store(limit)
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			if r := root.do("POST", filesAt+"/copy", map[string]any{"from": "d", "to": fmt.Sprint("c", i)}); r.StatusCode != 201 && r.code() != "quota_full" {
				t.Errorf("%d %s", r.StatusCode, r.body)
			}
		})
	}
	all.Wait()
	if n := f.used(root); n > limit {
		t.Errorf("the home holds %d bytes of %d", n, int64(limit))
	}
	copies, err := filepath.Glob(filepath.Join(f.home(root.user.ID), "c*"))
	if err != nil || len(copies) != 1 {
		t.Errorf("%d copies: %v", len(copies), err)
	}
}

// A home of many empty files is full, too.
func TestAbuse28_QuotaOfFiles(t *testing.T) {
	b, f := newFilesBench(t)
	root := b.admin()
	root.must(201, "POST", filesAt+"/folders", map[string]any{"path": "d"})
	for i := range 5000 {
		if err := os.WriteFile(filepath.Join(f.home(root.user.ID), "d", fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.limit.Store(64 << 20) // and so 10,000 files
	if r := root.do("POST", filesAt+"/copy", map[string]any{"from": "d", "to": "e"}); r.code() != "quota_full" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := root.put("one", ""); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// Folders that are made on the way to something have their room set aside as well,
// which of a long path is a thousand times what is at its end.
func TestAbuse28_QuotaOfFoldersOnTheWay(t *testing.T) {
	const limit, depth = 8 << 20, 1500
	b, f := newFilesBench(t)
	root := b.admin()
	root.must(200, "GET", filesAt, nil) // makes the home
	f.limit.Store(limit)
	deep := func(top string) string { return top + strings.Repeat("/d", depth) }
	make := func(top string) reply {
		return root.do("POST", filesAt+"/folders", map[string]any{"path": deep(top), "parents": true})
	}
	if r := make("a"); r.StatusCode != 201 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	for i := range 3 {
		if r := make(fmt.Sprint("b", i)); r.StatusCode != 507 || r.code() != "quota_full" {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
		meta := "path " + base64.StdEncoding.EncodeToString([]byte(deep(fmt.Sprint("c", i))+"/f"))
		req, err := http.NewRequest("POST", b.base+prefix+uploadsPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Tus-Resumable": {"1.0.0"}, "Upload-Length": {"0"}, "Upload-Metadata": {meta}}
		res, err := root.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 507 {
			t.Error(res.Status)
		}
	}
	if n := f.used(root); n > limit {
		t.Errorf("%d bytes are used of %d", n, limit)
	}
}
