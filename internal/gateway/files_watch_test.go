package gateway

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"staithe/internal/files/watch"
)

// follower reads a stream of events.
type follower struct {
	t     *testing.T
	res   *http.Response
	lines *bufio.Scanner
	id    int
}

func (br *browser) follow(t *testing.T, path string) *follower {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, br.b.base+filesAt+"/watch"+at(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range br.header {
		req.Header[k] = v
	}
	res, err := br.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return &follower{t: t, res: res, lines: bufio.NewScanner(res.Body)}
}

// next is the next event; "" when the stream ended.
func (f *follower) next() (name, data string) {
	f.t.Helper()
	over := time.AfterFunc(patience, func() { f.res.Body.Close() })
	defer over.Stop()
	for f.lines.Scan() {
		key, value, _ := strings.Cut(f.lines.Text(), ": ")
		switch key {
		case "id":
			if f.id++; value != strconv.Itoa(f.id) {
				f.t.Errorf("event %s follows %d", value, f.id-1)
			}
		case "event":
			name = value
		case "data":
			data = value
		case "":
			if name != "" {
				return name, data
			}
		}
	}
	return "", ""
}

// until reads events up to one of a path, and returns its change.
func (f *follower) until(path string) string {
	f.t.Helper()
	for {
		name, data := f.next()
		var c struct{ Events []watch.Event }
		if err := json.Unmarshal([]byte(data), &c); err != nil || name != "changes" {
			f.t.Fatalf("%q %q %v", name, data, err)
		}
		for _, e := range c.Events {
			if e.Path.String() == path {
				return e.Change
			}
		}
	}
}

// What a program in the home does, and what is done over the API, is told.
func TestChangesAreTold(t *testing.T) {
	b, f := newFilesBench(t)
	ada := b.member(b.admin(), "ada")
	w := ada.follow(t, "")
	if w.res.StatusCode != http.StatusOK || w.res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", w.res.StatusCode, w.res.Header)
	}
	if name, data := w.next(); name != "ready" || data != "{}" {
		t.Fatalf("%q %q", name, data)
	}
	home := f.home(ada.user.ID)
	if err := os.WriteFile(filepath.Join(home, "by a program\n"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := w.until("by a program%0A"); got != watch.Create {
		t.Error(got)
	}
	ada.put("by-api", "x")
	if got := w.until("by-api"); got != watch.Create {
		t.Error(got)
	}
	// Only what is below the folder.
	if err := os.Mkdir(filepath.Join(home, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	sub := ada.follow(t, "sub")
	sub.next()
	ada.put("outside", "x")
	ada.put("sub/inside", "x")
	if name, data := sub.next(); name != "changes" || strings.Contains(data, "outside") || !strings.Contains(data, "sub/inside") {
		t.Errorf("%q %q", name, data)
	}
}

// Somebody else's changes are nobody's news, and a path out of the home is none.
func TestAbuse24_WatchOnlyTheOwnHome(t *testing.T) {
	b, f := newFilesBench(t)
	root := b.admin()
	ada, eve := b.member(root, "ada"), b.member(root, "eve")
	w := eve.follow(t, "")
	w.next()
	ada.put("secret", "x")
	eve.put("mine", "x")
	if name, data := w.next(); name != "changes" || strings.Contains(data, "secret") {
		t.Errorf("%q %q", name, data)
	}
	for _, p := range []string{"../" + filepath.Base(f.home(ada.user.ID)), "/etc", "a/../../b", "%2e%2e", "a%00"} {
		if r := eve.follow(t, p); r.res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", p, r.res.StatusCode)
		}
	}
	if r := b.browser().follow(t, ""); r.res.StatusCode != http.StatusUnauthorized {
		t.Errorf("nobody: %d", r.res.StatusCode)
	}
}

// A user can have so many streams and no more; one that ends makes room.
func TestWatchesAreBounded(t *testing.T) {
	b, _ := newFilesBench(t)
	ada := b.member(b.admin(), "ada")
	first := ada.follow(t, "")
	first.next()
	for range maxWatches - 1 {
		ada.follow(t, "").next()
	}
	if r := ada.follow(t, ""); r.res.StatusCode != http.StatusTooManyRequests {
		t.Fatalf("one more: %d", r.res.StatusCode)
	}
	first.res.Body.Close()
	until(t, "room for another", func() bool {
		r := ada.follow(t, "")
		defer r.res.Body.Close()
		return r.res.StatusCode == http.StatusOK
	})
}

// The stream ends with the login.
func TestAbuse11_AWatchEndsWithItsLogin(t *testing.T) {
	b, _ := newFilesBench(t)
	ada := b.member(b.admin(), "ada")
	w := ada.follow(t, "")
	w.next()
	ada.must(204, "POST", prefix+"/logout", nil)
	if name, data := w.next(); name != "" {
		t.Errorf("after signing out: %q %q", name, data)
	}
}
