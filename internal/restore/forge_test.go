package restore

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// forger writes into a repository what restic never would, as whoever has the
// key can (restic's doc/design.rst).
type forger struct {
	t    *testing.T
	repo string
	key  struct {
		MAC     struct{ K, R []byte }
		Encrypt []byte
	}
	pack  []byte
	blobs []forged
}

type forged struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Offset int    `json:"offset"`
	Length int    `json:"length"`
}

// node is a tree's.
type node map[string]any

func (b *bench) forger() *forger {
	b.t.Helper()
	f := &forger{t: b.t, repo: b.options.Path}
	cmd := exec.Command(b.options.Program, "cat", "masterkey")
	cmd.Env = []string{"RESTIC_REPOSITORY=" + f.repo, "RESTIC_PASSWORD=" + b.options.Key, "HOME=" + b.t.TempDir()}
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &f.key)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

// seal encrypts and signs: AES-256 in counter mode, and Poly1305-AES.
func (f *forger) seal(plain []byte) []byte {
	iv := make([]byte, 16)
	rand.Read(iv)
	block, err := aes.NewCipher(f.key.Encrypt)
	if err != nil {
		f.t.Fatal(err)
	}
	text := make([]byte, len(plain))
	cipher.NewCTR(block, iv).XORKeyStream(text, plain)
	mac, err := aes.NewCipher(f.key.MAC.K)
	if err != nil {
		f.t.Fatal(err)
	}
	s := make([]byte, 16)
	mac.Encrypt(s, iv)
	return append(append(iv, text...), poly1305(text, f.key.MAC.R, s)...)
}

// poly1305 is the textbook's.
func poly1305(text, r, s []byte) []byte {
	little := func(b []byte) *big.Int {
		be := make([]byte, len(b))
		for i, c := range b {
			be[len(b)-1-i] = c
		}
		return new(big.Int).SetBytes(be)
	}
	clamped := append([]byte{}, r...)
	for i, m := range []byte{255, 255, 255, 15, 252, 255, 255, 15, 252, 255, 255, 15, 252, 255, 255, 15} {
		clamped[i] &= m
	}
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 130), big.NewInt(5))
	sum, mul := new(big.Int), little(clamped)
	for len(text) > 0 {
		n := min(16, len(text))
		sum.Add(sum, little(append(append([]byte{}, text[:n]...), 1)))
		sum.Mod(sum.Mul(sum, mul), p)
		text = text[n:]
	}
	sum.Add(sum, little(s))
	out := make([]byte, 17)
	be := sum.Mod(sum, new(big.Int).Lsh(big.NewInt(1), 128)).Bytes()
	for i, c := range be {
		out[len(be)-1-i] = c
	}
	return out[:16]
}

// blob adds one and returns its id.
func (f *forger) blob(kind string, plain []byte) string {
	sum := sha256.Sum256(plain)
	sealed := f.seal(plain)
	f.blobs = append(f.blobs, forged{hex.EncodeToString(sum[:]), kind, len(f.pack), len(sealed)})
	f.pack = append(f.pack, sealed...)
	return hex.EncodeToString(sum[:])
}

func (f *forger) json(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// tree adds one.
func (f *forger) tree(nodes ...node) string {
	at := time.Unix(1_600_000_000, 0).UTC()
	usual := node{"mtime": at, "atime": at, "ctime": at, "uid": 1000, "gid": 1000, "user": "", "group": ""}
	for _, n := range nodes {
		for key, v := range usual {
			if n[key] == nil {
				n[key] = v
			}
		}
	}
	return f.blob("tree", append(f.json(map[string]any{"nodes": nodes}), '\n'))
}

func (f *forger) file(name, content string) node {
	return node{"name": name, "type": "file", "mode": 0o644, "size": len(content), "content": []string{f.blob("data", []byte(content))}}
}

func folder(name, tree string) node {
	return node{"name": name, "type": "dir", "mode": 1<<31 | 0o755, "subtree": tree}
}

// snapshot writes all with a snapshot of a home with those nodes, and returns its
// id.
func (f *forger) snapshot(nodes ...node) string {
	top := f.tree(folder("home", f.tree(nodes...)))
	var header []byte
	for _, b := range f.blobs {
		kind := byte(0)
		if b.Type == "tree" {
			kind = 1
		}
		id, err := hex.DecodeString(b.ID)
		if err != nil {
			f.t.Fatal(err)
		}
		header = append(append(binary.LittleEndian.AppendUint32(append(header, kind), uint32(b.Length)), id...), []byte{}...)
	}
	sealed := f.seal(header)
	pack := binary.LittleEndian.AppendUint32(append(f.pack, sealed...), uint32(len(sealed)))
	sum := sha256.Sum256(pack)
	id := hex.EncodeToString(sum[:])
	f.write(filepath.Join("data", id[:2], id), pack)
	f.unpacked("index", map[string]any{"packs": []any{map[string]any{"id": id, "blobs": f.blobs}}})
	return f.unpacked("snapshots", map[string]any{"time": time.Now(), "tree": top, "paths": []string{"/home"}, "hostname": "forged"})[:8]
}

func (f *forger) unpacked(kind string, v any) string {
	b := f.seal(f.json(v))
	sum := sha256.Sum256(b)
	id := hex.EncodeToString(sum[:])
	f.write(filepath.Join(kind, id), b)
	return id
}

func (f *forger) write(name string, b []byte) {
	p := filepath.Join(f.repo, name)
	err := os.MkdirAll(filepath.Dir(p), 0o700)
	if err == nil {
		err = os.WriteFile(p, b, 0o600)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}
