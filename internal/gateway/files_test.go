package gateway

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"staithe/internal/auth"
	"staithe/internal/files"
)

// Everything that a person does with files, over HTTP.
func TestFiles(t *testing.T) {
	b, f := newFilesBench(t)
	root := b.admin()
	ada, _ := b.member(root, "ada").token(auth.ScopeFiles)
	home := f.home(ada.user.ID)

	r := ada.put("a", "one")
	var e files.Entry
	if r.into(t, &e); r.StatusCode != 200 || e.ETag == "" || e.Size != 3 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if r := ada.put("a", "two", "If-Match", `"old"`); r.StatusCode != 409 || r.code() != "file_changed" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := ada.put("a", "two", "If-None-Match", "*"); r.StatusCode != 409 || r.code() != "file_exists" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := ada.put("a", "two", "If-Match", e.ETag); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := ada.must(200, "GET", filesAt+"/content"+at("a"), nil); string(r.body) != "two" {
		t.Errorf("%q", r.body)
	}
	ada.must(201, "POST", filesAt+"/folders", map[string]any{"path": "d/e", "parents": true})
	ada.must(200, "POST", filesAt+"/move", map[string]any{"from": "a", "to": "d/e/a"})
	ada.must(201, "POST", filesAt+"/copy", map[string]any{"from": "d", "to": "c"})
	ada.must(201, "POST", filesAt+"/links", map[string]any{"path": "l", "target": []byte("d/e")})
	ada.must(200, "POST", filesAt+"/mode", map[string]any{"path": "c/e/a", "mode": 0o600})
	var gone files.Trashed
	ada.must(200, "POST", filesAt+"/trash", map[string]any{"path": "d"}).into(t, &gone)
	if r := ada.must(404, "GET", filesAt+"/stat"+at("d"), nil); r.code() != "no_file" {
		t.Errorf("%s", r.body)
	}
	ada.must(200, "POST", filesAt+"/restore", map[string]any{"id": gone.ID})
	ada.must(200, "GET", filesAt+"/stat"+at("d/e/a"), nil)
	ada.must(200, "POST", filesAt+"/trash", map[string]any{"path": "d"}).into(t, &gone)
	var trash []files.Trashed
	if ada.must(200, "GET", filesAt+"/trash", nil).into(t, &trash); len(trash) != 1 {
		t.Errorf("%+v", trash)
	}
	ada.must(204, "DELETE", filesAt+"/trash?id="+gone.ID.String(), nil)
	var list files.Listing
	if ada.must(200, "GET", filesAt+"?sort=kind&limit=1", nil).into(t, &list); len(list.Entries) != 1 || list.Entries[0].Name != "c" || list.Total != 2 || list.Next == "" {
		t.Errorf("%+v", list)
	}
	if r := ada.must(200, "POST", filesAt+"/search", map[string]any{"path": ".", "text": "two", "content": true}); !strings.Contains(string(r.body), `"c/e/a"`) || !strings.Contains(string(r.body), `"done"`) {
		t.Errorf("%s", r.body)
	}
	if r := ada.must(200, "GET", filesAt+"/archive"+at("c", "format", "zip"), nil); !strings.HasPrefix(string(r.body), "PK") {
		t.Errorf("%q", r.body)
	}
	ada.must(204, "DELETE", filesAt+at("c"), nil)
	if left, err := filepath.Glob(filepath.Join(home, "[a-z]*")); err != nil || len(left) != 1 { // the link
		t.Errorf("%q %v", left, err)
	}
	ada.must(405, "PUT", filesAt+"/move", nil)
	ada.must(422, "GET", filesAt+"?sort=weight", nil)
}

// Ranges and conditions are as HTTP has them.
func TestFileRanges(t *testing.T) {
	b, f := newFilesBench(t)
	root := b.admin()
	root.put("f", "0123456789")
	ask := func(name, value string) reply {
		br := &browser{b: b, http: root.http, header: http.Header{name: {value}}}
		return br.do("GET", filesAt+"/content"+at("f"), nil)
	}
	if r := ask("Range", "bytes=2-4"); r.StatusCode != 206 || string(r.body) != "234" || r.Header.Get("Content-Range") != "bytes 2-4/10" {
		t.Errorf("%d %q %v", r.StatusCode, r.body, r.Header)
	}
	if r := ask("Range", "bytes=0-0,8-"); r.StatusCode != 206 || !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/byteranges") {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	if r := ask("Range", "bytes=10-"); r.StatusCode != 416 || r.code() != "bad_range" || r.Header.Get("Content-Range") != "bytes */10" {
		t.Errorf("%d %s %v", r.StatusCode, r.body, r.Header)
	}
	tag := ask("Range", "bytes=0-0").Header.Get("Etag")
	if r := ask("If-None-Match", tag); r.StatusCode != 304 || len(r.body) != 0 {
		t.Errorf("%d %q", r.StatusCode, r.body)
	}
	if r := ask("If-Match", `"other"`); r.StatusCode != 409 || r.code() != "file_changed" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := root.must(200, "HEAD", filesAt+"/content"+at("f"), nil); r.Header.Get("Content-Length") != "10" || len(r.body) != 0 {
		t.Errorf("%v", r.Header)
	}
	if err := os.WriteFile(filepath.Join(f.home(root.user.ID), "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := ask("If-None-Match", tag); r.StatusCode != 200 || string(r.body) != "x" {
		t.Errorf("%d %q", r.StatusCode, r.body)
	}
}

func TestGitStatus(t *testing.T) {
	b, _ := newFilesBench(t)
	root := b.admin()
	root.must(201, "POST", filesAt+"/folders", map[string]any{"path": "d"})
	root.put("f", "")
	if r := root.must(200, "GET", filesAt+"/git"+at("d"), nil); !strings.Contains(string(r.body), `"repository":"d","branch":"a[31mb","ahead":0,"behind":0,"entries":[{"path":"d/a%0A%FF","code":" M"}],"truncated":false`) {
		t.Errorf("%s", r.body)
	}
	for path, code := range map[string]string{"f": "not_a_folder", "none": "no_file", "../x": "bad_path"} {
		if r := root.do("GET", filesAt+"/git"+at(path), nil); r.code() != code {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
	}
}

// Without files the routes say so.
func TestNoFiles(t *testing.T) {
	b := newBench(t)
	if r := b.admin().must(503, "GET", filesAt, nil); r.code() != "no_files" {
		t.Errorf("%s", r.body)
	}
}
