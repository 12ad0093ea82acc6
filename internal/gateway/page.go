package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
)

// pageRoutes are the addresses that the page itself takes apart; one that ends
// in / takes all below it.
var pageRoutes = []string{"/setup", "/login", "/invite", "/s/"}

// types are for what Go's own table may not know on a bare host.
var types = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".woff2": "font/woff2", ".wasm": "application/wasm",
	".json": "application/json", ".map": "application/json", ".webmanifest": "application/manifest+json", ".txt": "text/plain; charset=utf-8"}

// page serves the built page, or a development server's.
func (g *Gateway) page(dist fs.FS) (http.Handler, error) {
	if g.cfg.DevPage != "" {
		return devPage(g.cfg.DevPage)
	}
	index, err := readIndex(dist)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			g.noRoute(w, r)
			return
		}
		if isPage(r.URL.Path) {
			servePage(w, index, http.StatusOK)
			return
		}
		name := strings.TrimPrefix(r.URL.Path, "/")
		typ, known := types[path.Ext(name)]
		if dist == nil || !known || !isFile(dist, name) {
			g.lost(w, r, index)
			return
		}
		w.Header().Set("Content-Type", typ)
		w.Header().Set("Cache-Control", "no-cache")
		if strings.HasPrefix(name, "assets/") { // Vite puts the content's hash into these names
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		http.ServeFileFS(w, r, dist, name)
	}), nil
}

func isFile(dist fs.FS, name string) bool {
	if !fs.ValidPath(name) {
		return false
	}
	info, err := fs.Stat(dist, name)
	return err == nil && !info.IsDir()
}

// lost answers a person with the page, which says that it knows no such
// address, and a program with a problem document.
func (g *Gateway) lost(w http.ResponseWriter, r *http.Request, index []byte) {
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		servePage(w, index, http.StatusNotFound)
		return
	}
	g.noRoute(w, r)
}

func isPage(p string) bool {
	if p == "/" || p == "/index.html" {
		return true
	}
	for _, route := range pageRoutes {
		if p == route || strings.HasSuffix(route, "/") && strings.HasPrefix(p, route) {
			return true
		}
	}
	return false
}

func servePage(w http.ResponseWriter, index []byte, status int) {
	w.Header().Set("Content-Type", types[".html"])
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
	w.Write(index)
}

// notBuilt is what a server without its page says. No script, no style.
const notBuilt = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>staithe: page not built</title></head>
<body><h1>The page is not built</h1>
<p>This server was compiled without its web page. Run <code>make build</code> and start it again;
the API under <code>/api/v1</code> and the command line work meanwhile.</p></body></html>
`

func readIndex(dist fs.FS) ([]byte, error) {
	if dist == nil {
		return []byte(notBuilt), nil
	}
	index, err := fs.ReadFile(dist, "index.html")
	if errors.Is(err, fs.ErrNotExist) {
		return []byte(notBuilt), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	return index, nil
}

// devPage passes everything on to Vite, its WebSocket too, but no credential.
func devPage(target string) (http.Handler, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("development page: %w", err)
	}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(u)
		r.Out.Header.Del("Cookie")
		r.Out.Header.Del("Authorization")
	}}, nil
}
