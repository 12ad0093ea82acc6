package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"staithe/internal/station"
)

// compression is how a stream is packed, by its first bytes.
type compression int

const (
	plainTar compression = iota
	gzipped
	zstandard
)

// magics are first bytes; those without a name here are read.
var magics = []struct {
	begins string
	kind   compression
	name   string // of what is not read
	tool   string
}{
	{"\x1f\x8b", gzipped, "", ""},
	{"\x28\xb5\x2f\xfd", zstandard, "", ""},
	{"\xfd7zXZ\x00", 0, "xz", "xz -dk"},
	{"BZh", 0, "bzip2", "bzip2 -dk"},
	{"PK\x03\x04", 0, "zip", "unzip"},
	{"hsqs", 0, "squashfs", "unsquashfs"},
	{"7z\xbc\xaf", 0, "7z", "7z x"},
}

const magicBytes = 6

// maxWindow is the most memory that a zstd stream may ask for; zstd itself
// wants --long to write more than 8 MiB.
const maxWindow = 128 << 20

func kindOf(head []byte) (compression, error) {
	for _, m := range magics {
		if !bytes.HasPrefix(head, []byte(m.begins)) {
			continue
		}
		if m.name != "" {
			return 0, station.Errorf(station.ErrInvalid, "unread_compression", "The archive is packed with %s, which is not read here; unpack it first (%s FILE) and import what comes out.", m.name, m.tool)
		}
		return m.kind, nil
	}
	return plainTar, nil
}

// sniff tells how a file is packed.
func sniff(f *os.File) (compression, error) {
	head := make([]byte, magicBytes)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	return kindOf(head[:n])
}

// decompress gives what a stream unpacks to, packed or not. Close does not
// close r.
func decompress(r io.Reader) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(magicBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	kind, err := kindOf(head)
	if err != nil {
		return nil, err
	}
	switch kind {
	case gzipped:
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, brokenArchive(err)
		}
		return z, nil
	case zstandard:
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, brokenArchive(err)
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(br), nil
}

// holdsImage tells the archive of an image from that of a root file system, by
// its first entry's name.
func holdsImage(f *os.File, kind compression) (bool, error) {
	in, err := rewound(f)
	if err != nil {
		return false, err
	}
	plain, err := decompress(in)
	if err != nil {
		return false, err
	}
	defer plain.Close()
	tr := tar.NewReader(io.LimitReader(plain, maxJSON))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return false, station.Errorf(station.ErrInvalid, "bad_archive", "The archive is empty.")
		}
		if err != nil {
			return false, brokenArchive(err)
		}
		name, err := cleanName(h.Name)
		if err != nil {
			return false, err
		}
		if name != "." && h.Typeflag != tar.TypeXGlobalHeader {
			return imageNames.MatchString(name), nil
		}
	}
}

// checked reads a stream, sums it, and keeps it within a size.
type checked struct {
	r    io.Reader
	sum  hash.Hash // nil: not asked for
	n    int64
	most int64 // -1: any
	tail []byte
}

func newChecked(r io.Reader, most int64, sum bool) *checked {
	c := &checked{r: r, most: most}
	if sum {
		c.sum = sha256.New()
	}
	return c
}

// errTooLong is a stream beyond what it may have.
var errTooLong = errors.New("longer than it may be")

// tarEnd is what a tar ends with: two blocks of zeros.
const tarEnd = 1024

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.most >= 0 && c.n > c.most {
		return 0, errTooLong
	}
	if c.sum != nil {
		c.sum.Write(p[:n])
	}
	if n >= tarEnd {
		c.tail = append(c.tail[:0], p[n-tarEnd:n]...)
	} else if c.tail = append(c.tail, p[:n]...); len(c.tail) > tarEnd {
		c.tail = append(c.tail[:0], c.tail[len(c.tail)-tarEnd:]...)
	}
	return n, err
}

func (c *checked) digest() string { return "sha256:" + hex.EncodeToString(c.sum.Sum(nil)) }

// ended says whether what was read ends as a tar does.
func (c *checked) ended() bool {
	return len(c.tail) == tarEnd && len(bytes.Trim(c.tail, "\x00")) == 0
}
