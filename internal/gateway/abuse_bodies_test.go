package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"staithe/internal/files/filesapi"
)

// A body that nobody reads, and that never comes, keeps no connection: the request
// is answered, and counts no longer.
func TestAbuse28_BodyThatNobodyReads(t *testing.T) {
	b, _ := newFilesBench(t, withTiming(func(tm *timing) { tm.stall, tm.body = 300*time.Millisecond, 600*time.Millisecond }))
	root, _ := b.admin().token("*")
	host := strings.TrimPrefix(b.base, "http://")
	for _, request := range []string{"GET " + filesAt + "/stat?path=", "DELETE " + prefix + uploadsPath + "/x", "GET " + filesAt + "/content?path=no"} {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		length := "Content-Length: 10"
		if strings.HasPrefix(request, "DELETE") {
			length = "Content-Type: application/json\r\nTus-Resumable: 1.0.0\r\n" + length
		}
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n%s\r\n\r\n1", request, host, root.header.Get("Authorization"), length)
		if err := conn.SetReadDeadline(time.Now().Add(2 * graceForBody)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", request, err)
		}
	}
}

// slowHelper takes a body, and long for what it does with it.
type slowHelper struct{ takes time.Duration }

func (h slowHelper) RoundTrip(req *http.Request) (*http.Response, error) {
	for range 2 { // http.Transport, too, looks whether more comes
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return nil, err
		}
	}
	select {
	case <-req.Context().Done():
		return nil, context.Cause(req.Context())
	case <-time.After(h.takes): // the slowness that is tested
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
}

// What is done with a body after it came may take longer than the wait for its next
// bytes: unpacking an archive, or the last sync of a large file.
func TestWorkAfterTheBody(t *testing.T) {
	b, f := newFilesBench(t, withTiming(func(tm *timing) { tm.stall, tm.body = time.Second, time.Second }))
	admin := b.admin()
	root, _ := admin.token("*")
	if _, err := f.Helper(t.Context(), admin.user.ID); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.clients[admin.user.ID] = filesapi.NewClient(slowHelper{3 * time.Second}, "files")
	f.mu.Unlock()
	for _, request := range []string{"PUT " + filesAt + "/content?path=f", "POST " + filesAt + "/extract?path=d&format=tar"} {
		method, path, _ := strings.Cut(request, " ")
		req, err := http.NewRequest(method, b.base+path, strings.NewReader("12345"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = root.header.Clone()
		req.Header.Set("Content-Type", "application/octet-stream")
		res, err := root.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%s: %s", request, res.Status)
		}
	}
	// The next request on such a connection is waited for as on any other.
	conn := rawPut(t, b, root, "g", "Content-Length: 5", "12345")
	answers := bufio.NewReader(conn)
	for i := range 2 {
		if i > 0 {
			fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(answers, nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%v %v", res, err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
	}
}
