package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"staithe/internal/files"
	"staithe/internal/transfer"
)

// TestAbuse40_FilesUnderKills kills gateway and files helper with SIGKILL at
// random moments while files are written, uploaded, replaced and moved. In the end
// the home is what was acknowledged; of what was not, each name has the old
// content or the new one, whole, or there is none.
func TestAbuse40_FilesUnderKills(t *testing.T) {
	kills, seed := 20, uint64(28)
	if v := os.Getenv("STAITHE_SOAK_FILE_KILLS"); v != "" {
		kills, _ = strconv.Atoi(v)
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("%d kills, seed %d", kills, seed)
	s := serve(t)
	s.laptop(t).run("ls") // makes the home
	f := &fileChaos{t: t, s: s, acked: map[string]string{}, open: map[string][]string{}, http: &http.Client{Timeout: 20 * time.Second}}
	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	for i := range 6 {
		s.bearer(s.token).must(201, "POST", "/workstation/files/folders", map[string]any{"path": fmt.Sprintf("w/%d", i), "parents": true}, nil)
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		busy.Go(func() { f.live(ctx, i, rnd) })
	}
	rnd := rand.New(rand.NewPCG(seed, 100))
	killed := map[string]int{}
	for range kills {
		f.kill(rnd, killed)
	}
	// On a busy machine less is done between two of them: more make up for it.
	chaotic := func() bool {
		return f.done.Load() >= int64(kills)*3 && f.failed.Load() >= int64(kills)/4 && killed["helper"] > 0
	}
	for end := time.Now().Add(3 * time.Minute); !chaotic() && time.Now().Before(end); {
		f.kill(rnd, killed)
	}
	stop()
	busy.Wait()
	s.kill()
	s.killHelpers()
	s.again()
	f.check()
	t.Logf("killed %v; %d operations answered, %d not; %d files acknowledged", killed, f.done.Load(), f.failed.Load(), len(f.acked))
	if !chaotic() {
		t.Errorf("this was no chaos")
	}
}

// fileChaos is one run. Each name is one worker's, and is left alone once it is
// not known what became of it.
type fileChaos struct {
	t            *testing.T
	s            *server
	http         *http.Client
	done, failed atomic.Int64

	mu    sync.Mutex
	acked map[string]string   // what is at a name
	open  map[string][]string // what may be at a name; "" is nothing
}

// kill waits a little, kills something and counts it.
func (f *fileChaos) kill(rnd *rand.Rand, killed map[string]int) {
	timer := time.NewTimer(time.Duration(30+rnd.IntN(400)) * time.Millisecond) // the moment is what is random
	<-timer.C
	switch k := rnd.IntN(5); {
	case k < 2:
		f.s.kill()
		f.s.again()
		killed["gateway"]++
	case k < 4:
		killed["helper"] += f.s.killHelpers()
	default:
		f.s.kill()
		f.s.killHelpers()
		f.s.again()
		killed["both"]++
	}
}

func (f *fileChaos) live(ctx context.Context, worker int, rnd *rand.Rand) {
	var mine []string // acknowledged, and free to be worked with
	up := transfer.New(f.s.base, f.s.token)
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("w/%d/%d", worker, n)
		content := strings.Repeat(fmt.Sprintf("%s %d\n", name, rnd.Int()), 1+rnd.IntN(1<<rnd.IntN(16)))
		var old string
		pick := func() {
			i := rnd.IntN(len(mine))
			old, mine = mine[i], append(mine[:i:i], mine[i+1:]...)
		}
		op := rnd.IntN(5)
		if len(mine) < 3 {
			op = rnd.IntN(3)
		}
		var ok bool
		switch op {
		case 0:
			ok = f.try(name, content, "PUT", "/api/v1/workstation/files/content?path="+url.QueryEscape(name), content, nil)
		case 1: // by itself again until it is there
			ok = f.result(name, content, func() error {
				_, err := up.Upload(context.WithoutCancel(ctx), strings.NewReader(content), int64(len(content)),
					transfer.Upload{Path: files.Path(name), Mode: 0o640, MTime: time.Now()})
				return err
			})
		case 2: // of many pieces of 1 MiB
			content = strings.Repeat(fmt.Sprintf("%s %d\n", name, rnd.Int()), 150_000)
			ok = f.result(name, content, func() error {
				_, err := up.Upload(context.WithoutCancel(ctx), strings.NewReader(content), int64(len(content)),
					transfer.Upload{Path: files.Path(name), Mode: 0o640, MTime: time.Now()})
				return err
			})
		case 3:
			pick()
			name = old
			ok = f.try(name, content, "POST", "/api/v1/workstation/uploads", content, http.Header{"Tus-Resumable": {"1.0.0"},
				"Content-Type": {"application/offset+octet-stream"}, "Upload-Length": {strconv.Itoa(len(content))},
				"Upload-Metadata": {"replace " + base64.StdEncoding.EncodeToString([]byte("yes")) + ",path " + base64.StdEncoding.EncodeToString([]byte(name))}})
		case 4:
			pick()
			ok = f.move(old, name)
		}
		if ok {
			mine = append(mine, name)
		}
	}
}

// try does what gives a name a content, once. It says whether it was acknowledged.
func (f *fileChaos) try(name, content, method, path, body string, header http.Header) bool {
	return f.result(name, content, func() error { return f.send(method, path, strings.NewReader(body), header) })
}

// result notes what is or may be at a name.
func (f *fileChaos) result(name, content string, do func() error) bool {
	f.mu.Lock()
	old := f.acked[name]
	delete(f.acked, name)
	f.open[name] = []string{old, content}
	f.mu.Unlock()
	err := do()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.failed.Add(1)
		return false
	}
	f.done.Add(1)
	delete(f.open, name)
	f.acked[name] = content
	return true
}

func (f *fileChaos) move(from, to string) bool {
	f.mu.Lock()
	content := f.acked[from]
	delete(f.acked, from)
	f.open[from], f.open[to] = []string{content, ""}, []string{content, ""}
	f.mu.Unlock()
	b, err := json.Marshal(map[string]string{"from": from, "to": to})
	if err == nil {
		err = f.send("POST", "/api/v1/workstation/files/move", bytes.NewReader(b), http.Header{"Content-Type": {"application/json"}})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.failed.Add(1)
		return false
	}
	f.done.Add(1)
	f.open[from] = []string{""}
	delete(f.open, to)
	f.acked[to] = content
	return true
}

// send sends a request once. That something was killed is an error; that it is
// refused is one of the test.
func (f *fileChaos) send(method, path string, body io.Reader, header http.Header) error {
	req, err := http.NewRequest(method, f.s.base+path, body)
	if err != nil {
		return err
	}
	if header != nil {
		req.Header = header
	}
	req.Header.Set("Authorization", "Bearer "+f.s.token)
	res, err := f.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		if res.StatusCode != 503 && !(res.StatusCode == 400 && strings.Contains(string(out), "cut_off")) {
			f.t.Errorf("%s %s: %d %s", method, path, res.StatusCode, out)
		}
		return fmt.Errorf("%d %s", res.StatusCode, out)
	}
	return nil
}

// check compares the home with what was acknowledged.
func (f *fileChaos) check() {
	f.t.Helper()
	f.s.laptop(f.t).run("ls") // starts the helper, which cleans up
	home := f.s.home()
	for name, want := range f.acked {
		if got, err := os.ReadFile(filepath.Join(home, name)); err != nil || string(got) != want {
			f.t.Errorf("%s was acknowledged and is not there whole: %d of %d bytes, %v", name, len(got), len(want), err)
		}
	}
	err := filepath.WalkDir(filepath.Join(home, "w"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(home, p)
		if err != nil {
			return err
		}
		if _, ok := f.acked[name]; ok {
			return nil
		}
		got, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for _, may := range f.open[name] {
			if may != "" && may == string(got) {
				return nil
			}
		}
		f.t.Errorf("%s has %d bytes that nobody wrote so", name, len(got))
		return nil
	})
	if err != nil {
		f.t.Error(err)
	}
	for name, may := range f.open {
		if _, err := os.Lstat(filepath.Join(home, name)); err != nil && may[0] != "" && may[1%len(may)] != "" {
			f.t.Errorf("%s is gone: it was there, and was only replaced", name)
		}
	}
	left, err := os.ReadDir(filepath.Join(home, ".local/share/staithe/staging"))
	if err != nil || len(left) > 1 || len(left) == 1 && left[0].Name() != "uploads" {
		f.t.Errorf("in staging: %v %v", left, err)
	}
}
