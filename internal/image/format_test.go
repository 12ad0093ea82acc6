package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"

	"staithe/internal/station"
)

// ociImage is an image of these layers, as another program makes it.
func ociImage(t testing.TB, arch string, layers ...[]byte) v1.Image {
	t.Helper()
	img := v1.Image(empty.Image)
	for _, content := range layers {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cf.OS, cf.Architecture = "linux", arch
	cf.Config = v1.Config{Env: []string{"PATH=/usr/bin", "LANG=C"}, User: "app", Cmd: []string{"sh"}, WorkingDir: "/srv"}
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		t.Fatal(err)
	}
	return img
}

func layoutOf(t testing.TB, add ...mutate.IndexAddendum) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := layout.Write(dir, mutate.AppendManifests(empty.Index, add...)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func addendum(img v1.Image, arch string) mutate.IndexAddendum {
	return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}}
}

// tarOfDir packs a folder, as a person would with tar.
func tarOfDir(t testing.TB, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func saveOf(t testing.TB, imgs map[string]v1.Image) []byte {
	t.Helper()
	refs := map[name.Reference]v1.Image{}
	for tag, img := range imgs {
		ref, err := name.ParseReference(tag)
		if err != nil {
			t.Fatal(err)
		}
		refs[ref] = img
	}
	var b bytes.Buffer
	if err := tarball.MultiRefWrite(refs, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zst(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

func files(t testing.TB, rootfs string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(rootfs, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(rootfs, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		out[rel] = info.Mode().String()
		switch {
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			out[rel] += to
			return err
		case d.Type().IsRegular():
			b, err := os.ReadFile(path)
			out[rel] += string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestImportReadsEachFormat(t *testing.T) {
	lower := tarOfEntries(t, system(t, "lower", file("gone", "x"), file("etc/a", "1"), hardlink("etc/b", "etc/a"))...)
	upper := tarOfEntries(t, file("etc/mark", "upper"), file(".wh.gone", ""))
	whole := tarOfEntries(t, system(t, "upper", file("etc/a", "1"), hardlink("etc/b", "etc/a"))...)
	img := ociImage(t, runtime.GOARCH, lower, upper)
	other := ociImage(t, "s390x", lower)
	layoutDir := layoutOf(t, addendum(img, runtime.GOARCH))
	many := layoutOf(t, mutate.IndexAddendum{Add: mutate.AppendManifests(empty.Index, addendum(other, "s390x"), addendum(img, runtime.GOARCH))})
	save := saveOf(t, map[string]v1.Image{"a:1": img})

	plain := newStore(t, Options{})
	want := files(t, mustImport(t, plain, "plain", write(t, "root.tar", whole)).Rootfs)
	if want["etc/mark"] == "" || want["gone"] != "" {
		t.Fatalf("%v", want)
	}
	folder := filepath.Join(t.TempDir(), "folder")
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(plain.dir, "plain/current/rootfs"))); err != nil {
		t.Fatal(err)
	}

	for what, path := range map[string]string{
		"layout folder": layoutDir, "layout of several": many,
		"layout tar": write(t, "l.tar", tarOfDir(t, layoutDir)), "layout tar.gz": write(t, "l.tgz", gz(t, tarOfDir(t, layoutDir))),
		"layout of several, tar.zst": write(t, "m.tar.zst", zst(t, tarOfDir(t, many))),
		"docker save":                write(t, "s.tar", save), "docker save .gz": write(t, "s.tgz", gz(t, save)), "docker save .zst": write(t, "s.zst", zst(t, save)),
		"root tar.gz": write(t, "r.tgz", gz(t, whole)), "root tar.zst": write(t, "r.zst", zst(t, whole)),
		"folder": folder,
	} {
		s := newStore(t, Options{})
		steps := map[string]bool{}
		got, err := s.Import(t.Context(), "x", path, func(p Progress) { steps[p.Step] = true })
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if have := files(t, got.Rootfs); !maps.Equal(have, want) {
			t.Errorf("%s: %v, wanted %v", what, have, want)
		}
		if !steps["unpacking"] || !steps["writing to disk"] {
			t.Errorf("%s: progress told of %v", what, steps)
		}
		m := got.Manifest
		if m.Files != int64(len(want)-1) || m.Size <= 64 || m.Platform != platform || !strings.HasPrefix(m.Digest, "sha256:"+got.Version) {
			t.Errorf("%s: %+v", what, m)
		}
		image := strings.Contains(what, "layout") || strings.Contains(what, "docker")
		if image != (m.Config.User == "app" && slices.Contains(m.Config.Env, "LANG=C") && m.Config.WorkingDir == "/srv") {
			t.Errorf("%s: config %+v", what, m.Config)
		}
		onlyThese(t, s, "x")
	}
}

func TestImportRefusesAndLeavesNothing(t *testing.T) {
	whole := tarOfEntries(t, system(t, "x", file("usr/big", strings.Repeat("abcdefgh", 1<<15)))...)
	img := ociImage(t, runtime.GOARCH, whole)
	good := layoutOf(t, addendum(img, runtime.GOARCH))
	two := layoutOf(t, addendum(img, runtime.GOARCH), addendum(ociImage(t, runtime.GOARCH, whole, whole), runtime.GOARCH))
	noShell := tarOfEntries(t, dir("usr"), dir("etc"))
	foreign := system(t, "x")
	foreign[4].body = foreign[4].body[:18] + "\x16\x00" + foreign[4].body[20:] // s390x
	for what, c := range map[string]struct {
		content []byte
		code    string
	}{
		"cut gzip":            {gz(t, whole)[:len(gz(t, whole))/2], "archive_cut_off"},
		"gzip without end":    {gz(t, whole)[:len(gz(t, whole))-8], "archive_cut_off"},
		"cut zstd":            {zst(t, whole)[:len(zst(t, whole))-9], "archive_cut_off"},
		"cut tar":             {whole[:len(whole)/2], "archive_cut_off"},
		"tar without its end": {whole[:len(whole)-1024], "archive_cut_off"},
		"damaged gzip":        {flip(gz(t, whole), -6), "bad_archive"},
		"no tar":              {[]byte(strings.Repeat("hello ", 1000)), "bad_archive"},
		"empty":               {nil, "bad_archive"},
		"xz":                  {[]byte("\xfd7zXZ\x00 and more"), "unread_compression"},
		"two images":          {tarOfDir(t, two), "many_images"},
		"two saved images":    {saveOf(t, map[string]v1.Image{"a:1": img, "b:1": ociImage(t, runtime.GOARCH, noShell)}), "many_images"},
		"other platform":      {tarOfDir(t, layoutOf(t, addendum(ociImage(t, "s390x", whole), "s390x"))), "other_platform"},
		"other saved":         {saveOf(t, map[string]v1.Image{"a:1": ociImage(t, "s390x", whole)}), "other_platform"},
		"other programs":      {tarOfEntries(t, foreign...), "other_platform"},
		"no shell":            {noShell, "no_base"},
		"shell is a script":   {tarOfEntries(t, dir("usr"), dir("etc"), entry{name: "bin/sh", body: "#!/bin/false, a long one", mode: 0o755}), "no_base"},
		"shell leads away":    {tarOfEntries(t, dir("usr"), dir("etc"), symlink("bin/sh", "../../../../../../proc/self/exe")), "no_base"},
		"not whole":           {tarOfDir(t, without(t, good, layerOf(t, img))), "bad_archive"},
		"hostile":             {tarOfEntries(t, system(t, "x", file("../x", ""))...), "hostile_archive"},
		"hostile index":       {tarOfEntries(t, file("oci-layout", "{}"), file("index.json", "["+strings.Repeat("[", 1<<20))), "bad_archive"},
	} {
		s := newStore(t, Options{})
		_, err := s.Import(t.Context(), "x", write(t, "a", c.content), nil)
		var p *station.Problem
		if !errors.As(err, &p) || p.Code != c.code {
			t.Errorf("%s: %v", what, err)
		}
		onlyThese(t, s)
	}
}

// TestImportReadsEachIndexOnce: indexes that name each other many times are no
// more work than their bytes.
func TestImportReadsEachIndexOnce(t *testing.T) {
	img := ociImage(t, runtime.GOARCH, tarOfEntries(t, system(t, "x")...))
	for _, times := range []int{100, 20_000} {
		l := layoutOf(t, addendum(img, runtime.GOARCH))
		inner := blob(t, l, "index.json")
		for range 2 { // the first is the image's, the others name the one before
			d := v1.Descriptor{MediaType: "application/vnd.oci.image.index.v1+json", Size: int64(len(inner))}
			var err error
			if d.Digest, _, err = v1.SHA256(bytes.NewReader(inner)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(l, "blobs/sha256", d.Digest.Hex), inner, 0o644); err != nil {
				t.Fatal(err)
			}
			if inner, err = json.Marshal(v1.IndexManifest{SchemaVersion: 2, Manifests: slices.Repeat([]v1.Descriptor{d}, times)}); err != nil {
				t.Fatal(err)
			}
		}
		root, err := os.OpenRoot(l)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		b := &counting{blobs: dirBlobs{root}}
		_, err = choose(b, inner)
		if times > maxDescriptors {
			refused(t, err, "bad_archive")
		} else if err != nil {
			t.Error(err)
		}
		if b.n > 2 {
			t.Errorf("%d files were read", b.n)
		}
	}
}

// counting counts the files that are opened.
type counting struct {
	blobs
	n int
}

func (c *counting) open(name string) (io.ReadCloser, int64, error) {
	c.n++
	return c.blobs.open(name)
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0xff
	return b
}

func layerOf(t testing.TB, img v1.Image) string {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	d, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	return "blobs/sha256/" + d.Hex
}

func without(t testing.TB, dir, name string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(to, name)); err != nil {
		t.Fatal(err)
	}
	return to
}

// Each part of an image is held against the digest that names it.
func TestImportRefusesWhatIsNotWhatIsNamed(t *testing.T) {
	whole := tarOfEntries(t, system(t, "one")...)
	forged := tarOfEntries(t, system(t, "two")...)
	img := ociImage(t, runtime.GOARCH, whole)
	good := layoutOf(t, addendum(img, runtime.GOARCH))
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	layer := layerOf(t, img)
	for what, c := range map[string]struct {
		name    string
		content []byte
	}{
		"layer":         {layer, gz(t, forged)},
		"longer layer":  {layer, append(blob(t, good, layer), "more"...)},
		"manifest":      {"blobs/sha256/" + digest.Hex, flip(blob(t, good, "blobs/sha256/"+digest.Hex), -2)},
		"configuration": {"blobs/sha256/" + config.Hex, flip(blob(t, good, "blobs/sha256/"+config.Hex), -2)},
	} {
		dir := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, c.name), c.content, 0o644); err != nil {
			t.Fatal(err)
		}
		s := newStore(t, Options{})
		_, err := s.Import(t.Context(), "x", dir, nil)
		if err == nil {
			t.Fatalf("%s: imported", what)
		}
		refused(t, err, "wrong_digest")
		onlyThese(t, s)
	}
	// docker save names no digests but those of the tars in the configuration.
	save := saveOf(t, map[string]v1.Image{"a:1": img})
	var entries []entry
	swapped := 0
	for tr := tar.NewReader(bytes.NewReader(save)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(h.Name, ".tar.gz") {
			body = gz(t, forged)
			swapped++
		}
		entries = append(entries, file(h.Name, string(body)))
	}
	if swapped != 1 {
		t.Fatalf("%d layers swapped", swapped)
	}
	s := newStore(t, Options{})
	_, err = s.Import(t.Context(), "x", write(t, "s.tar", tarOfEntries(t, entries...)), nil)
	refused(t, err, "wrong_digest")
	onlyThese(t, s)
}

func blob(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestImportTakesNoFolderThatHoldsTheData(t *testing.T) {
	s := newStore(t, Options{})
	_, err := s.Import(t.Context(), "x", filepath.Dir(filepath.Dir(s.dir)), nil)
	refused(t, err, "bad_source")
	_, err = s.Import(t.Context(), "x", "/nowhere", nil)
	refused(t, err, "no_file")
	_, err = s.Import(t.Context(), "x", "/dev/null", nil)
	refused(t, err, "no_file")
}

// A folder is read without following a link or waiting for a FIFO, and a file
// with several names stays one.
func TestImportOfAFolderFollowsNoLink(t *testing.T) {
	s := newStore(t, Options{})
	base := mustImport(t, s, "base", write(t, "b.tar", tarOfEntries(t, system(t, "x")...)))
	src := filepath.Join(t.TempDir(), "src")
	if err := os.CopyFS(src, os.DirFS(base.Rootfs)); err != nil {
		t.Fatal(err)
	}
	outside := write(t, "secret", []byte("secret"))
	err := errors.Join(os.Symlink(filepath.Dir(outside), filepath.Join(src, "away")), os.Symlink(outside, filepath.Join(src, "secret")),
		mkfifo(filepath.Join(src, "pipe")), os.Link(filepath.Join(src, "etc/mark"), filepath.Join(src, "etc/mark2")))
	if err != nil {
		t.Fatal(err)
	}
	img := mustImport(t, s, "x", src)
	got := files(t, img.Rootfs)
	if !strings.HasSuffix(got["secret"], outside) || got["away/secret"] != "" || img.Manifest.LeftOut["fifos"] != 1 {
		t.Errorf("%v %v", got, img.Manifest.LeftOut)
	}
	a, err1 := os.Stat(filepath.Join(img.Rootfs, "etc/mark"))
	b, err2 := os.Stat(filepath.Join(img.Rootfs, "etc/mark2"))
	if err1 != nil || err2 != nil || !os.SameFile(a, b) {
		t.Errorf("two files of one: %v %v", err1, err2)
	}
}
