package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"staithe/internal/station"
)

// blobs are the files of an image as it was saved.
type blobs interface {
	has(name string) bool
	// open opens a regular file by its path. The error wraps fs.ErrNotExist or
	// says what is wrong.
	open(name string) (r io.ReadCloser, size int64, err error)
}

// dirBlobs are those of a folder.
type dirBlobs struct{ root *os.Root }

func (d dirBlobs) has(name string) bool {
	info, err := d.root.Lstat(name)
	return err == nil && info.Mode().IsRegular()
}

func (d dirBlobs) open(name string) (io.ReadCloser, int64, error) {
	if !d.has(name) { // before opening: a FIFO would wait for ever
		return nil, 0, missingBlob(name)
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, 0, missingBlob(name)
	}
	return f, info.Size(), nil
}

func missingBlob(name string) error {
	return station.Errorf(station.ErrInvalid, "bad_archive", "The image has no file %s; it is not whole.", short(name))
}

// tarBlobs are those of an uncompressed tar.
type tarBlobs struct {
	f     *os.File
	files map[string]section
	links map[string]string // old docker save links equal layers
}

type section struct{ off, size int64 }

// maxBlobs is how many entries the archive of an image may have.
const maxBlobs = 100_000

// indexTar notes where each file of a tar is. tar.Reader reads no byte ahead,
// so the file's offset after a header is where the content begins.
func indexTar(f *os.File) (*tarBlobs, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	b := &tarBlobs{f: f, files: map[string]section{}, links: map[string]string{}}
	tr := tar.NewReader(f)
	for range maxBlobs {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return nil, brokenArchive(err)
		}
		name, err := cleanName(h.Name)
		if err != nil {
			return nil, err
		}
		switch h.Typeflag {
		case tar.TypeReg:
			off, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			b.files[name] = section{off, h.Size}
		case tar.TypeSymlink:
			b.links[name] = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			b.links[name] = path.Clean(h.Linkname)
		}
	}
	return nil, station.Errorf(station.ErrInvalid, "bad_archive", "The image's archive has more than %d entries.", maxBlobs)
}

func (b *tarBlobs) find(name string) (section, bool) {
	for range maxLinks {
		if s, ok := b.files[name]; ok {
			return s, true
		}
		to, ok := b.links[name]
		if !ok {
			break
		}
		name = to
	}
	return section{}, false
}

func (b *tarBlobs) has(name string) bool { _, ok := b.find(name); return ok }

func (b *tarBlobs) open(name string) (io.ReadCloser, int64, error) {
	s, ok := b.find(path.Clean(name))
	if !ok {
		return nil, 0, missingBlob(name)
	}
	return io.NopCloser(io.NewSectionReader(b.f, s.off, s.size)), s.size, nil
}

// readAll reads a small file, and checks its digest when it has one.
func readAll(b blobs, name, digest string) ([]byte, error) {
	r, size, err := b.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxJSON {
		return nil, station.Errorf(station.ErrInvalid, "bad_archive", "The image's %s is %s long; no honest one is.", short(name), Bytes(size))
	}
	data, err := io.ReadAll(io.LimitReader(r, maxJSON))
	if err != nil {
		return nil, brokenArchive(err)
	}
	if int64(len(data)) != size {
		return nil, brokenArchive(io.ErrUnexpectedEOF)
	}
	if digest != "" && digestOf(data) != digest {
		return nil, wrongDigest(digest)
	}
	return data, nil
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func wrongDigest(digest string) error {
	return station.Errorf(station.ErrInvalid, "wrong_digest", "What came is not what the image names (%s): damaged or forged. Nothing was kept; get it again.", digest)
}

// blobPath is where an OCI layout has a blob (image-spec, image-layout.md).
func blobPath(h v1.Hash) (string, error) {
	if h.Algorithm != "sha256" || len(h.Hex) != 64 || strings.Trim(h.Hex, "0123456789abcdef") != "" {
		return "", station.Errorf(station.ErrInvalid, "bad_archive", "The image uses the sum %+q; only SHA-256 is read here.", h.String())
	}
	return path.Join("blobs", h.Algorithm, h.Hex), nil
}

// readLayout reads an OCI image layout.
func readLayout(b blobs) (*source, error) {
	data, err := readAll(b, "index.json", "")
	if err != nil {
		return nil, err
	}
	desc, err := choose(b, data)
	if err != nil {
		return nil, err
	}
	name, err := blobPath(desc.Digest)
	if err != nil {
		return nil, err
	}
	if data, err = readAll(b, name, desc.Digest.String()); err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(data))
	if err != nil {
		return nil, brokenArchive(fmt.Errorf("manifest: %w", err))
	}
	if name, err = blobPath(m.Config.Digest); err != nil {
		return nil, err
	}
	if data, err = readAll(b, name, m.Config.Digest.String()); err != nil {
		return nil, err
	}
	cf, err := v1.ParseConfigFile(bytes.NewReader(data))
	if err != nil {
		return nil, brokenArchive(fmt.Errorf("configuration: %w", err))
	}
	var layers []layer
	for _, d := range m.Layers {
		name, err := blobPath(d.Digest)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer{digest: d.Digest.String(), size: d.Size, open: func(context.Context) (io.ReadCloser, error) {
			r, _, err := b.open(name)
			return r, err
		}})
	}
	return assemble(desc.Digest.String(), cf, layers)
}

// choose finds the one manifest for this machine in an index and those it
// names.
func choose(b blobs, index []byte) (v1.Descriptor, error) {
	l := &lister{blobs: b, seen: map[v1.Hash]bool{}}
	err := l.list(index, 0)
	found, others := l.found, l.others
	if err != nil {
		return v1.Descriptor{}, err
	}
	seen := map[v1.Hash]bool{}
	for _, d := range found {
		seen[d.Digest] = true
	}
	switch {
	case len(seen) == 1:
		return found[0], nil
	case len(seen) > 1:
		return v1.Descriptor{}, station.Errorf(station.ErrInvalid, "many_images", "The archive has %d images for %s; save the one you want alone.", len(seen), platform)
	case len(others) > 0:
		return v1.Descriptor{}, otherPlatform(strings.Join(others, ", "))
	}
	return v1.Descriptor{}, station.Errorf(station.ErrInvalid, "bad_archive", "The archive has no image in it.")
}

// maxIndexDepth is how deep indexes may be in indexes; tools write two.
const maxIndexDepth = 3

// maxDescriptors is how many images and indexes an archive's indexes may name.
const maxDescriptors = 10_000

// lister lists the manifests for this machine, and the platforms of the others.
type lister struct {
	blobs  blobs
	seen   map[v1.Hash]bool // indexes, each of which is read once
	n      int
	found  []v1.Descriptor
	others []string
}

// list reads an index and those in it.
func (l *lister) list(index []byte, depth int) error {
	im, err := v1.ParseIndexManifest(bytes.NewReader(index))
	if err != nil {
		return brokenArchive(fmt.Errorf("index: %w", err))
	}
	if l.n += len(im.Manifests); l.n > maxDescriptors {
		return station.Errorf(station.ErrInvalid, "bad_archive", "The archive names more than %d images.", maxDescriptors)
	}
	for _, d := range im.Manifests {
		switch {
		case d.MediaType.IsIndex():
			if err := l.nested(d, depth+1); err != nil {
				return err
			}
		case !d.MediaType.IsImage() && d.MediaType != "":
		case d.Platform == nil || d.Platform.OS == "" || d.Platform.OS == "linux" && d.Platform.Architecture == runtime.GOARCH:
			l.found = append(l.found, d)
		case d.Platform.OS != "unknown": // attestations say unknown
			l.others = append(l.others, d.Platform.String())
		}
	}
	return nil
}

func (l *lister) nested(d v1.Descriptor, depth int) error {
	name, err := blobPath(d.Digest)
	if err != nil {
		return err
	}
	if depth > maxIndexDepth {
		return station.Errorf(station.ErrInvalid, "bad_archive", "The image's indexes are nested too deeply.")
	}
	if l.seen[d.Digest] {
		return nil
	}
	l.seen[d.Digest] = true
	data, err := readAll(l.blobs, name, d.Digest.String())
	if err != nil {
		return err
	}
	return l.list(data, depth)
}

// saved is an entry of docker save's manifest.json.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// readSave reads what docker save wrote before it wrote OCI layouts.
func readSave(b blobs) (*source, error) {
	data, err := readAll(b, "manifest.json", "")
	if err != nil {
		return nil, err
	}
	var all []saved
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, brokenArchive(fmt.Errorf("manifest.json: %w", err))
	}
	if len(all) != 1 {
		return nil, station.Errorf(station.ErrInvalid, "many_images", "The archive has %d images; save the one you want alone.", len(all))
	}
	if data, err = readAll(b, all[0].Config, ""); err != nil {
		return nil, err
	}
	cf, err := v1.ParseConfigFile(bytes.NewReader(data))
	if err != nil {
		return nil, brokenArchive(fmt.Errorf("configuration: %w", err))
	}
	var layers []layer
	for _, name := range all[0].Layers {
		if !b.has(path.Clean(name)) {
			return nil, missingBlob(name)
		}
		layers = append(layers, layer{size: -1, open: func(context.Context) (io.ReadCloser, error) {
			r, _, err := b.open(name)
			return r, err
		}})
	}
	return assemble(digestOf(data), cf, layers) // its id, as docker has it
}
