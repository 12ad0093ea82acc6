package image

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"staithe/internal/station"
)

// quick is how tests pull: without long waits.
var quick = PullOptions{Retry: time.Millisecond}

// hub is a real registry on the loopback, with a door that a test may put before
// it once the images are there.
type hub struct {
	host string
	door atomic.Pointer[func(w http.ResponseWriter, r *http.Request, next http.Handler)]
}

func newHub(t testing.TB) *hub {
	t.Helper()
	h := &hub{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if door := h.door.Load(); door != nil {
			(*door)(w, r, inner)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	h.host = strings.TrimPrefix(srv.URL, "http://")
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // nobody's logins
	return h
}

func (h *hub) before(door func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	h.door.Store(&door)
}

func (h *hub) push(t testing.TB, what string, img remote.Taggable) string {
	t.Helper()
	ref, err := name.ParseReference(h.host + "/" + what)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Push(ref, img); err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

func isBlob(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/")
}

// big is an image whose layer takes several reads.
func big(t testing.TB) (v1.Image, []byte) {
	t.Helper()
	noise := make([]byte, 2<<20)
	x := uint32(1)
	for i := range noise {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	content := tarOfEntries(t, system(t, "pulled", file("usr/noise", string(noise)))...)
	return ociImage(t, runtime.GOARCH, content), content
}

func TestPull(t *testing.T) {
	h := newHub(t)
	img := ociImage(t, runtime.GOARCH, tarOfEntries(t, system(t, "low")...), tarOfEntries(t, file("etc/mark", "high")))
	one := h.push(t, "team/one:1", img)
	many := h.push(t, "team/many:latest", mutate.AppendManifests(empty.Index, addendum(ociImage(t, "s390x", tarOfEntries(t, dir("a"))), "s390x"), addendum(img, runtime.GOARCH)))
	s := newStore(t, Options{})
	steps := map[string]bool{}
	got, err := s.Pull(t.Context(), "one", one, quick, func(p Progress) { steps[p.Step] = true })
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil || mark(t, got.Rootfs) != "high" || got.Manifest.Digest != digest.String() || got.Manifest.Source != one || !steps["downloading"] || !steps["unpacking"] {
		t.Errorf("%+v %v %v", got, steps, err)
	}
	// The same image from an index is the same version; a digest names it too.
	if got, err = s.Pull(t.Context(), "one", many, quick, nil); err != nil || !got.Same {
		t.Errorf("%+v %v", got, err)
	}
	if got, err = s.Pull(t.Context(), "two", h.host+"/team/one@"+digest.String(), quick, nil); err != nil || got.Same {
		t.Errorf("%+v %v", got, err)
	}
	onlyThese(t, s, "one", "two")
}

func TestPullRefusesOtherPlatforms(t *testing.T) {
	h := newHub(t)
	other := ociImage(t, "s390x", tarOfEntries(t, system(t, "x")...))
	s := newStore(t, Options{})
	for _, ref := range []string{h.push(t, "a:1", other), h.push(t, "b:1", mutate.AppendManifests(empty.Index, addendum(other, "s390x")))} {
		_, err := s.Pull(t.Context(), "x", ref, quick, nil)
		refused(t, err, "other_platform")
		if !strings.Contains(err.Error(), "linux/s390x") {
			t.Errorf("%v", err)
		}
	}
	_, err := s.Pull(t.Context(), "x", h.host+"/a:1", PullOptions{Platform: "linux/s390x"}, nil)
	refused(t, err, "other_platform")
	onlyThese(t, s)
}

// login writes what docker login writes.
func login(t testing.TB, host, user, password string) {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	text := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, auth)
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPullLogsInWithAPassword(t *testing.T) {
	h := newHub(t)
	img, _ := big(t)
	ref := h.push(t, "private:1", img)
	h.before(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if user, pw, ok := r.BasicAuth(); !ok || user != "ann" || pw != "right" {
			w.Header().Set("WWW-Authenticate", `Basic realm="hub"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
	s := newStore(t, Options{})
	_, err := s.Pull(t.Context(), "x", ref, quick, nil)
	refused(t, err, "registry_login")
	login(t, h.host, "ann", "wrong")
	_, err = s.Pull(t.Context(), "x", ref, quick, nil)
	refused(t, err, "registry_login")
	if strings.Contains(err.Error(), "wrong") {
		t.Errorf("the password is told: %v", err)
	}
	onlyThese(t, s)
	login(t, h.host, "ann", "right")
	if _, err = s.Pull(t.Context(), "x", ref, quick, nil); err != nil {
		t.Error(err)
	}
}

func TestPullLogsInWithAToken(t *testing.T) {
	h := newHub(t)
	img, _ := big(t)
	ref := h.push(t, "private:1", img)
	var blobs atomic.Int32
	h.before(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case r.URL.Path == "/token":
			if user, pw, _ := r.BasicAuth(); user != "ann" || pw != "right" || r.FormValue("scope") != "repository:private:pull" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fmt.Fprint(w, `{"token":"let-me-in"}`)
		case r.Header.Get("Authorization") != "Bearer let-me-in":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="hub"`, h.host))
			w.WriteHeader(http.StatusUnauthorized)
		default:
			if isBlob(r) {
				blobs.Add(1)
			}
			next.ServeHTTP(w, r)
		}
	})
	s := newStore(t, Options{})
	_, err := s.Pull(t.Context(), "x", ref, quick, nil)
	refused(t, err, "registry_login")
	login(t, h.host, "ann", "right")
	if _, err = s.Pull(t.Context(), "x", ref, quick, nil); err != nil || blobs.Load() == 0 {
		t.Errorf("%v, %d blobs", err, blobs.Load())
	}
}

func TestPullSaysWhatIsWrong(t *testing.T) {
	h := newHub(t)
	img, content := big(t)
	h.push(t, "a:1", img)
	status := func(code int) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			if r.URL.Path == "/v2/" {
				return // the registry itself answers
			}
			w.WriteHeader(code)
		}
	}
	for what, c := range map[string]struct {
		ref  string
		door func(http.ResponseWriter, *http.Request, http.Handler)
		code string
	}{
		"unknown tag":   {"a:2", nil, "no_image_there"},
		"unknown name":  {"none:1", nil, "no_image_there"},
		"rate limit":    {"a:1", status(http.StatusTooManyRequests), "registry_limit"},
		"broken server": {"a:1", status(http.StatusInternalServerError), "registry_failed"},
		"no registry": {"a:1", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			fmt.Fprint(w, "<html>welcome</html>")
		}, "registry_unreachable"},
		"rate limit of a layer": {"a:1", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if isBlob(r) && r.Header.Get("Accept") == "" {
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			next.ServeHTTP(w, r)
		}, "registry_limit"},
		"wrong layer": {"a:1", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			serveChanged(w, r, next, func(b []byte) []byte { return flip(b, len(b)/2) })
		}, "wrong_digest"},
		"longer layer": {"a:1", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			serveChanged(w, r, next, func(b []byte) []byte { return append(b, b...) })
		}, "wrong_digest"},
		"forged layer": {"a:1", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			serveChanged(w, r, next, func(b []byte) []byte {
				return gz(t, bytes.Replace(content, []byte("pulled"), []byte("forged"), 1))
			})
		}, "wrong_digest"},
	} {
		h.door.Store(nil)
		if c.door != nil {
			h.before(c.door)
		}
		s := newStore(t, Options{})
		_, err := s.Pull(t.Context(), "x", h.host+"/"+c.ref, quick, nil)
		var p *station.Problem
		if !errors.As(err, &p) || p.Code != c.code {
			t.Errorf("%s: %v", what, err)
		}
		onlyThese(t, s)
	}
	_, err := newStore(t, Options{}).Pull(t.Context(), "x", "Not A Reference!", quick, nil)
	refused(t, err, "bad_reference")
}

// serveChanged answers as the registry, with a layer's bytes changed.
func serveChanged(w http.ResponseWriter, r *http.Request, next http.Handler, change func([]byte) []byte) {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	body := rec.Body.Bytes()
	if isBlob(r) && len(body) > 100_000 { // not the configuration
		body = change(body)
	}
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(rec.Code)
	_, _ = w.Write(body) // the client may have left
}

// A registry whose tag was moved to a manifest that is not what its digest says.
func TestPullRefusesAForgedManifest(t *testing.T) {
	h := newHub(t)
	img, _ := big(t)
	h.push(t, "a:1", img)
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	h.before(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.Header().Del("Content-Length")
		w.WriteHeader(rec.Code)
		body := rec.Body.Bytes()
		if strings.Contains(r.URL.Path, "/manifests/") {
			body = append(body, ' ')
		}
		_, _ = w.Write(body) // the client may have left
	})
	s := newStore(t, Options{})
	_, err = s.Pull(t.Context(), "x", h.host+"/a@"+digest.String(), quick, nil)
	refused(t, err, "wrong_digest")
	onlyThese(t, s)
}

// A configuration is read into memory, and may be as long as it likes nowhere.
func TestPullRefusesAnEndlessConfiguration(t *testing.T) {
	img, _ := big(t)
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	for _, says := range []int64{-1, 1 << 40} {
		h := newHub(t)
		m, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		m = m.DeepCopy()
		m.Config.Size = says
		forged, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		h.push(t, "a:1", img)
		var sent atomic.Int64
		h.before(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			switch {
			case strings.Contains(r.URL.Path, "/manifests/"):
				w.Header().Set("Content-Type", string(m.MediaType))
				_, _ = w.Write(forged) // the client may have left
			case strings.HasSuffix(r.URL.Path, "/blobs/"+config.String()):
				w.WriteHeader(http.StatusOK)
				for chunk := make([]byte, 1<<20); sent.Load() < 256<<20; { // no end, as far as a test may go
					if _, err := w.Write(chunk); err != nil {
						return
					}
					sent.Add(int64(len(chunk)))
				}
			default:
				next.ServeHTTP(w, r)
			}
		})
		s := newStore(t, Options{})
		_, err = s.Pull(t.Context(), "x", h.host+"/a:1", quick, nil)
		refused(t, err, "bad_archive")
		if n := sent.Load(); n > 32<<20 {
			t.Errorf("size %d: %s were read", says, Bytes(n))
		}
		onlyThese(t, s)
	}
}

func TestPullTakesUpWhereTheConnectionBroke(t *testing.T) {
	for _, ranges := range []bool{true, false} {
		h := newHub(t)
		img, _ := big(t)
		ref := h.push(t, "a:1", img)
		var broken, resumed atomic.Int32
		h.before(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if !isBlob(r) {
				next.ServeHTTP(w, r)
				return
			}
			if r.Header.Get("Range") != "" {
				resumed.Add(1)
			}
			if !ranges {
				r.Header.Del("Range")
			}
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			body := rec.Body.Bytes()
			if len(body) < 300_000 || broken.Load() >= 4 {
				next.ServeHTTP(w, r)
				return
			}
			broken.Add(1)
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.WriteHeader(rec.Code)
			_, _ = w.Write(body[:200_000])
			if f, ok := w.(http.Flusher); ok {
				f.Flush()
			}
			panic(http.ErrAbortHandler) // the connection is cut
		})
		s := newStore(t, Options{})
		got, err := s.Pull(t.Context(), "x", ref, quick, nil)
		if err != nil || mark(t, got.Rootfs) != "pulled" || broken.Load() != 4 || resumed.Load() != 4 {
			t.Errorf("ranges %v: %v, broken %d, resumed %d", ranges, err, broken.Load(), resumed.Load())
		}
	}
}

func TestPullGivesUpOnALineThatIsDead(t *testing.T) {
	h := newHub(t)
	img, _ := big(t)
	ref := h.push(t, "a:1", img)
	var asked atomic.Int32
	layer := layerDigest(t, img)
	h.before(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, layer) {
			asked.Add(1)
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
	s := newStore(t, Options{})
	_, err := s.Pull(t.Context(), "x", ref, quick, nil)
	refused(t, err, "registry_unreachable")
	if asked.Load() < tries {
		t.Errorf("asked %d times", asked.Load())
	}
	onlyThese(t, s)
}

func layerDigest(t testing.TB, img v1.Image) string {
	t.Helper()
	return filepath.Base(layerOf(t, img))
}

func TestPullStopsWhenAsked(t *testing.T) {
	h := newHub(t)
	img, _ := big(t)
	ref := h.push(t, "a:1", img)
	layer := layerDigest(t, img)
	ctx, stop := context.WithCancel(t.Context())
	h.before(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, layer) {
			stop()
			<-r.Context().Done()
			return
		}
		next.ServeHTTP(w, r)
	})
	s := newStore(t, Options{})
	if _, err := s.Pull(ctx, "x", ref, quick, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	onlyThese(t, s)
}

func TestPullSaysWhoSpeaksPlainHTTP(t *testing.T) {
	p := &puller{opts: quick, base: newTransport()}
	var err error
	if p.ref, err = name.ParseReference("registry.example/a:1"); err != nil {
		t.Fatal(err)
	}
	got := p.explain(errors.New("http: server gave HTTP response to HTTPS client"))
	refused(t, got, "registry_unreachable")
	if !strings.Contains(got.Error(), "--plain-http") {
		t.Errorf("%v", got)
	}
}

// A registry with a certificate that nobody signed.
func TestPullDistrustsUnknownCertificates(t *testing.T) {
	newHub(t)
	srv := httptest.NewTLSServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	p, err := newPuller(newStore(t, Options{}), "registry.example/a:1", quick)
	if err != nil {
		t.Fatal(err)
	}
	base := newTransport()
	base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { // all hosts are this one
		return (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
	}
	p.base = base
	_, err = p.source(t.Context())
	refused(t, err, "registry_unreachable")
	if !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
}
