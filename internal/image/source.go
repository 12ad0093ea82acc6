package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"staithe/internal/station"
)

// source is an image as it comes.
type source struct {
	digest string // sha256:HEX; "" when only reading tells
	config Config
	layers []layer // from the lowest up
	close  func()
}

// layer is one tar, maybe compressed.
type layer struct {
	open   func(ctx context.Context) (io.ReadCloser, error)
	digest string // sha256:HEX of what open gives; "" unknown
	diffID string // sha256:HEX of the tar in it; "" unknown
	size   int64  // bytes of what open gives; -1 unknown
	plain  bool   // a whole root file system: .wh. means nothing in it
}

// openSource finds out what a path is.
func (s *Store) openSource(ctx context.Context, path string) (*source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, station.Errorf(station.ErrNotFound, "no_file", "%s cannot be read; name an image's file or folder.", path).Because(err)
	}
	if info.IsDir() {
		return s.openFolder(path)
	}
	if !info.Mode().IsRegular() {
		return nil, station.Errorf(station.ErrInvalid, "no_file", "%s is neither a file nor a folder.", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, station.Errorf(station.ErrForbidden, "no_file", "%s cannot be read; is it yours?", path).Because(err)
	}
	return s.openFile(ctx, f)
}

// openFolder takes an OCI layout or a root file system.
func (s *Store) openFolder(path string) (*source, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	var src *source
	if b := (dirBlobs{root}); b.has("oci-layout") || b.has("index.json") {
		src, err = readLayout(b)
	} else if err = s.outside(path); err == nil {
		src = &source{layers: []layer{{size: -1, plain: true, open: func(ctx context.Context) (io.ReadCloser, error) {
			return tarOf(ctx, root), nil
		}}}}
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	src.close = func() { root.Close() }
	return src, nil
}

// outside refuses a folder that the copy would be put into.
func (s *Store) outside(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	own, err2 := filepath.EvalSymlinks(s.dir)
	if err != nil || err2 != nil {
		return fmt.Errorf("find %s: %w", path, err)
	}
	if real == own || strings.HasPrefix(own, strings.TrimSuffix(real, "/")+"/") {
		return station.Errorf(station.ErrInvalid, "bad_source", "%s holds the data directory itself; import a folder that does not.", path)
	}
	return nil
}

// openFile takes an archive: of an image, or of a root file system. The file is
// the source's then, or closed.
func (s *Store) openFile(ctx context.Context, f *os.File) (src *source, err error) {
	defer func() {
		if err != nil {
			f.Close()
		} else {
			src.close = func() { f.Close() }
		}
	}()
	kind, err := sniff(f)
	if err != nil {
		return nil, err
	}
	image, err := holdsImage(f, kind)
	if err != nil {
		return nil, err
	}
	if !image {
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		return &source{layers: []layer{{size: info.Size(), plain: true,
			open: func(context.Context) (io.ReadCloser, error) { return rewound(f) }}}}, nil
	}
	if kind != plainTar {
		spooled, err := s.spool(ctx, f) // blobs are read out of order
		if err != nil {
			return nil, err
		}
		f.Close()
		f = spooled
	}
	blobs, err := indexTar(f)
	if err != nil {
		return nil, err
	}
	switch {
	case blobs.has("index.json") && blobs.has("oci-layout"):
		src, err = readLayout(blobs)
	case blobs.has("manifest.json"):
		src, err = readSave(blobs)
	default:
		err = station.Errorf(station.ErrInvalid, "bad_archive", "The archive looks like an image and has no index.json and no manifest.json; is it whole?")
	}
	return src, err
}

func rewound(f *os.File) (io.ReadCloser, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.NewSectionReader(f, 0, info.Size())), nil
}

// imageNames are what archives of images begin with: those of docker save, old
// and new, of skopeo, buildah and crane.
var imageNames = regexp.MustCompile(`^((blobs|index\.json|oci-layout|manifest\.json|repositories|version)(/|$)|(sha256:)?[0-9a-f]{64}[./]|(sha256:)?[0-9a-f]{64}$)`)

// spool unpacks a compressed file into one that has no name.
func (s *Store) spool(ctx context.Context, f *os.File) (*os.File, error) {
	in, err := rewound(f)
	if err != nil {
		return nil, err
	}
	plain, err := decompress(in)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	out, err := s.tempFile()
	if err != nil {
		return nil, err
	}
	b := &budget{limits: s.limits, disk: out}
	limited := newChecked(plain, s.limits.Bytes, false)
	if err := b.copy(ctx, out, limited); err != nil {
		out.Close()
		return nil, diskFull(tooLong(err))
	}
	return out, nil
}

// tempFile is a file without a name on the images' disk: killed or not, it
// leaves nothing.
func (s *Store) tempFile() (*os.File, error) {
	f, err := os.CreateTemp(s.dir, ".spool-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	return f, nil
}

// assemble makes a source of a manifest and its configuration.
func assemble(digest string, cf *v1.ConfigFile, layers []layer) (*source, error) {
	has := v1.Platform{OS: cf.OS, Architecture: cf.Architecture, Variant: cf.Variant}
	if cf.OS != "linux" || cf.Architecture != runtime.GOARCH {
		return nil, otherPlatform(has.String())
	}
	if len(layers) != len(cf.RootFS.DiffIDs) || len(layers) == 0 || len(layers) > maxLayers {
		return nil, station.Errorf(station.ErrInvalid, "bad_archive", "The image's manifest names %d layers and its configuration %d (at most %d); it is damaged.", len(layers), len(cf.RootFS.DiffIDs), maxLayers)
	}
	for i, d := range cf.RootFS.DiffIDs {
		if d.Algorithm != "sha256" {
			return nil, station.Errorf(station.ErrInvalid, "bad_archive", "The image uses %+q sums; only SHA-256 is read here.", d.Algorithm)
		}
		layers[i].diffID = d.String()
	}
	c := cf.Config
	return &source{digest: digest, layers: layers, close: func() {}, config: Config{Env: slices.Clone(c.Env), User: c.User,
		Entrypoint: slices.Clone(c.Entrypoint), Cmd: slices.Clone(c.Cmd), WorkingDir: c.WorkingDir}}, nil
}
