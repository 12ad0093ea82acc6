package restic

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/poly1305" //lint:ignore SA1019 restic's format has it, and nothing else can make it
	"golang.org/x/crypto/scrypt"
)

// restic derives a key from the password by scrypt, so slowly that a person's
// password cannot be guessed: about half a second of processor time at each start.
// A password of NewKey cannot be guessed at any speed. For such a one the
// repository gets one more key file, of the same password, that opens in
// milliseconds. The format is restic's (doc/design.rst, "Keys, Encryption and MAC");
// restic's own key file stays.

// quickCost is scrypt's N; r is 8 and p 1: 1 MiB, 3 ms.
const quickCost = 1 << 10

// keyFilesMost is how many key files there may be: restic tries 20.
const keyFilesMost = 16

const keyFileMost = 64 << 10 // bytes

// NewKey is a new password, of 256 bits of chance.
func NewKey() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

var newKeyForm = regexp.MustCompile(`^[a-z2-7]{52}$`)

// keyFile is one of a repository's; its name is its hash.
type keyFile struct {
	Created  time.Time `json:"created"`
	Username string    `json:"username"`
	Hostname string    `json:"hostname"`
	KDF      string    `json:"kdf"`
	N        int       `json:"N"`
	R        int       `json:"r"`
	P        int       `json:"p"`
	Salt     []byte    `json:"salt"`
	Data     []byte    `json:"data"` // the master key, encrypted
}

// FindQuick finds the key file that Quicken made, if there is one, and has all that
// follows open the repository with it. It changes nothing there.
func (r *Repo) FindQuick(ctx context.Context) error {
	if !newKeyForm.MatchString(r.o.Key) {
		return nil
	}
	keys, err := r.keyFiles()
	if err != nil {
		return err
	}
	_, err = r.findQuick(ctx, keys)
	return err
}

func (r *Repo) findQuick(ctx context.Context, keys keyStore) (names []string, err error) {
	if names, err = keys.list(ctx); err != nil {
		return nil, fmt.Errorf("the key files of the repository: %w", err)
	}
	if hint := r.hint.Load(); hint != nil && slices.Contains(names, *hint) {
		return names, nil
	}
	r.hint.Store(nil)
	for _, name := range names[:min(len(names), keyFilesMost)] {
		b, err := keys.get(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("a key file of the repository: %w", err)
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) == name && isQuick(b, r.o.Key) {
			return names, r.remember(name)
		}
	}
	return names, nil
}

// Quicken makes restic's starts cheap, if the password is one of NewKey's: see
// above. It can be called again, and by servers at the same time.
func (r *Repo) Quicken(ctx context.Context) error {
	if !newKeyForm.MatchString(r.o.Key) {
		return nil
	}
	keys, err := r.keyFiles()
	if err != nil {
		return err
	}
	names, err := r.findQuick(ctx, keys)
	if err != nil || r.hint.Load() != nil || len(names) >= keyFilesMost {
		return err
	}
	var master strings.Builder
	if err := r.run(ctx, job{args: []string{"cat", "masterkey"}, out: &master, noLock: true}); err != nil {
		return err
	}
	return r.addQuick(ctx, keys, master.String())
}

// addQuick makes the key file.
func (r *Repo) addQuick(ctx context.Context, keys keyStore, master string) error {
	b, err := makeQuick([]byte(master), r.o.Key, r.o.Host)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	name := hex.EncodeToString(sum[:])
	err = keys.put(ctx, name, b) // it may be there all the same when that fails
	if err == nil {
		err = r.proveQuick(ctx, keys, name, b, master)
	}
	if err != nil {
		r.hint.Store(nil)
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
		defer cancel()
		if rerr := keys.remove(short, name); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = fmt.Errorf("%w; and %s stays there, which may be deleted: %w", err, name, rerr)
		}
		return fmt.Errorf("a key file for the repository: %w", err)
	}
	return r.remember(name)
}

// removeWithin is how long it may take to take a key file back.
const removeWithin = 20 * time.Second

// proveQuick sees that a new key file arrived as it was meant, and that restic opens
// the repository with it there: restic gives up at a key file that it cannot make sense
// of, also where another would do.
func (r *Repo) proveQuick(ctx context.Context, keys keyStore, name string, sent []byte, master string) error {
	b, err := keys.get(ctx, name)
	if err != nil {
		return err
	}
	var k keyFile
	if !bytes.Equal(b, sent) || json.Unmarshal(b, &k) != nil {
		return errors.New("it did not arrive as it was sent")
	}
	d, err := k.derive(r.o.Key)
	if err != nil {
		return err
	}
	if got, ok := d.open(k.Data); !ok || string(got) != master {
		return errors.New("it does not hold what it was made of")
	}
	// One that it cannot use it passes over, in favour of another.
	r.hint.Store(&name)
	var out strings.Builder
	if err := r.run(ctx, job{args: []string{"key", "list", "--json"}, out: &out, noLock: true}); err != nil {
		return err
	}
	var list []struct {
		Current bool
		ID      string // the first digits of its name
	}
	if err := json.Unmarshal([]byte(out.String()), &list); err != nil {
		return fmt.Errorf("restic's list of keys: %w", err)
	}
	for _, k := range list {
		if k.Current && k.ID != "" && strings.HasPrefix(name, k.ID) {
			return nil
		}
	}
	return errors.New("restic does not open the repository with it")
}

// remember has restic try this key file first, also after the next start.
func (r *Repo) remember(name string) error {
	r.hint.Store(&name)
	if r.o.Hint == "" {
		return nil
	}
	if err := os.WriteFile(r.o.Hint, []byte(name), 0o600); err != nil { // torn, it only costs time
		return fmt.Errorf("the name of the key file: %w", err)
	}
	return nil
}

var keyFileName = regexp.MustCompile(`^[0-9a-f]{64}$`)

// recall is what remember kept; nil: nothing of use.
func recall(file string) *string {
	b, err := os.ReadFile(file)
	name := string(b)
	if err != nil || !keyFileName.MatchString(name) {
		return nil
	}
	return &name
}

func makeQuick(master []byte, password, host string) ([]byte, error) {
	var shape struct {
		MAC     struct{ K, R []byte }
		Encrypt []byte
	}
	if err := json.Unmarshal(master, &shape); err != nil {
		return nil, fmt.Errorf("restic's master key: %w", err)
	}
	if len(shape.Encrypt) != 32 || len(shape.MAC.K) != 16 || len(shape.MAC.R) != 16 {
		return nil, errors.New("restic's master key has another form than expected")
	}
	k := keyFile{Created: time.Now().UTC(), Username: "staithe", Hostname: host, KDF: "scrypt", N: quickCost, R: 8, P: 1, Salt: make([]byte, 64)}
	rand.Read(k.Salt)
	d, err := k.derive(password)
	if err != nil {
		return nil, err
	}
	k.Data = d.seal(master)
	return json.Marshal(k)
}

// isQuick says whether a key file is cheap, and the password opens it.
func isQuick(file []byte, password string) bool {
	var k keyFile
	if json.Unmarshal(file, &k) != nil || k.KDF != "scrypt" || k.N != quickCost || k.R != 8 || k.P != 1 {
		return false
	}
	d, err := k.derive(password)
	if err != nil {
		return false
	}
	_, ok := d.open(k.Data)
	return ok
}

// derived is the key that a password gives.
type derived struct {
	block cipher.Block // of the content
	mac   cipher.Block // of the nonce
	r     [16]byte
}

func (k *keyFile) derive(password string) (*derived, error) {
	b, err := scrypt.Key([]byte(password), k.Salt, k.N, k.R, k.P, 64)
	if err != nil {
		return nil, err
	}
	d := &derived{r: [16]byte(b[48:])}
	if d.block, err = aes.NewCipher(b[:32]); err != nil {
		return nil, err
	}
	d.mac, err = aes.NewCipher(b[32:48])
	return d, err
}

// seal encrypts by AES-256 in counter mode and signs by Poly1305-AES: nonce, text, tag.
func (d *derived) seal(plain []byte) []byte {
	nonce := make([]byte, aes.BlockSize)
	rand.Read(nonce)
	text := make([]byte, len(plain))
	cipher.NewCTR(d.block, nonce).XORKeyStream(text, plain)
	var tag [poly1305.TagSize]byte
	poly1305.Sum(&tag, text, d.once(nonce))
	return slices.Concat(nonce, text, tag[:])
}

func (d *derived) open(sealed []byte) (plain []byte, ok bool) {
	if len(sealed) < aes.BlockSize+poly1305.TagSize {
		return nil, false
	}
	nonce, text := sealed[:aes.BlockSize], sealed[aes.BlockSize:len(sealed)-poly1305.TagSize]
	tag := [poly1305.TagSize]byte(sealed[len(sealed)-poly1305.TagSize:])
	if !poly1305.Verify(&tag, text, d.once(nonce)) {
		return nil, false
	}
	plain = make([]byte, len(text))
	cipher.NewCTR(d.block, nonce).XORKeyStream(plain, text)
	return plain, true
}

// once is the key of one tag.
func (d *derived) once(nonce []byte) *[32]byte {
	var key [32]byte
	copy(key[:], d.r[:])
	d.mac.Encrypt(key[16:], nonce)
	return &key
}
