package s3test

import (
	"net/http"
	"slices"
	"testing"
)

// The server keeps what it is given, also when it is killed, and each fault is
// seen by who asks through the proxy.
func TestServer(t *testing.T) {
	s := Start(t, "bucket")
	s.Must("PUT", Path("bucket", "a/k ey+ü"), http.Header{"X-Amz-Meta-Mode": {"755"}}, []byte("content"), 200)
	s.Kill()
	if _, _, err := Do(s.URL, "GET", Path("bucket", "a/k ey+ü"), nil, nil); err == nil {
		t.Error("a dead server answers")
	}
	s.Up()
	if keys := s.Objects("bucket", "a/"); !slices.Equal(keys, []string{"a/k ey+ü"}) {
		t.Errorf("%q", keys)
	}
	get := func() (int, string, error) {
		status, b, err := Do(s.URL, "GET", Path("bucket", "a/k ey+ü"), nil, nil)
		return status, string(b), err
	}
	if status, b, err := get(); status != 200 || b != "content" || err != nil {
		t.Errorf("%d %q %v", status, b, err)
	}
	s.Set(Faults{Status: 503, Code: "SlowDown"})
	if status, _, err := get(); status != 503 || err != nil {
		t.Errorf("%d %v", status, err)
	}
	s.Set(Faults{Down: true})
	if _, _, err := get(); err == nil {
		t.Error("it answers")
	}
	s.Set(Faults{Torn: true})
	if _, b, err := get(); err == nil || b == "content" {
		t.Errorf("the whole answer: %q", b)
	}
	s.Set(Faults{Unread: true, Only: func(r *http.Request) bool { return r.Method == "PUT" }})
	if status, _, err := Do(s.URL, "PUT", Path("bucket", "half"), nil, []byte("0123456789")); err == nil && status == 200 {
		t.Error("half an object is taken")
	}
	s.Set(Faults{BytesPerSecond: 1 << 20})
	if status, b, err := get(); status != 200 || b != "content" || err != nil {
		t.Errorf("%d %q %v", status, b, err)
	}
	if s.Hit.Load() < 4 { // the client may try again
		t.Errorf("%d were hit", s.Hit.Load())
	}
}
