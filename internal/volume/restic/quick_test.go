package restic

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func keyNames(t *testing.T, r *Repo) []string {
	t.Helper()
	keys, err := r.keyFiles()
	try(t, err)
	names, err := keys.list(t.Context())
	try(t, err)
	return names
}

// quick are those of the key files that are cheap.
func quick(t *testing.T, r *Repo) (names []string) {
	t.Helper()
	keys, err := r.keyFiles()
	try(t, err)
	for _, name := range keyNames(t, r) {
		b, err := keys.get(t.Context(), name)
		try(t, err)
		if isQuick(b, r.o.Key) {
			names = append(names, name)
		}
	}
	return names
}

// The key file that we make opens the repository, is made once, and is found again.
func TestQuickKeyFile(t *testing.T) {
	_, o := open(t)
	o.Key, o.Hint = NewKey(), filepath.Join(t.TempDir(), "hint")
	again := func() *Repo {
		t.Helper()
		r, err := Open(o)
		try(t, err)
		return r
	}
	r := again()
	try(t, r.Init(t.Context()))
	slow := keyNames(t, r)
	try(t, r.Quicken(t.Context()))
	try(t, r.Quicken(t.Context()))
	ours := quick(t, r)
	if len(slow) != 1 || len(keyNames(t, r)) != 2 || len(ours) != 1 {
		t.Fatalf("%q, then %q, of which cheap %q", slow, keyNames(t, r), ours)
	}
	if hint := again().hint.Load(); hint == nil || *hint != ours[0] {
		t.Errorf("after a start it is not known")
	}
	try(t, os.Remove(o.Hint))
	r = again()
	try(t, r.Quicken(t.Context()))
	if hint := r.hint.Load(); hint == nil || *hint != ours[0] || len(keyNames(t, r)) != 2 {
		t.Errorf("it is not found again: %v, %q", hint, keyNames(t, r))
	}
	// Plain restic opens it too, and tells no damage.
	try(t, os.Remove(filepath.Join(o.Path, "keys", slow[0])))
	if _, err := r.Snapshots(t.Context()); err != nil {
		t.Fatalf("with our key file alone: %v", err)
	}
	try(t, r.Check(t.Context(), ""))
	home := t.TempDir()
	try(t, os.WriteFile(filepath.Join(home, "f"), []byte("content"), 0o600))
	sum, err := r.Backup(t.Context(), BackupRequest{Source: home, Of: "w"}, nil)
	try(t, err)
	o.Hint = ""
	var b strings.Builder
	try(t, again().Dump(t.Context(), sum.ID, "f", "", &b))
	if b.String() != "content" {
		t.Errorf("%q", b.String())
	}
	// Another's password is not let in by it.
	o.Key = NewKey()
	if _, err := again().Snapshots(t.Context()); CodeOf(err) != CodeKey {
		t.Errorf("another password: %v", err)
	}
}

// A password that a person thought of stays behind restic's slow derivation; so
// does a repository whose key files are many, and one that has ours damaged keeps working.
func TestQuickKeyFileIsNotMade(t *testing.T) {
	r, o := open(t)
	try(t, r.Init(t.Context()))
	try(t, r.Quicken(t.Context()))
	if n := len(keyNames(t, r)); n != 1 {
		t.Errorf("for %q there are %d key files", o.Key, n)
	}

	_, o = open(t)
	o.Key = NewKey()
	r, err := Open(o)
	try(t, err)
	try(t, r.Init(t.Context()))
	try(t, r.Quicken(t.Context()))
	ours := filepath.Join(o.Path, "keys", quick(t, r)[0])
	b, err := os.ReadFile(ours)
	try(t, err)
	var k keyFile
	try(t, json.Unmarshal(b, &k))
	k.Data[20] ^= 1
	b, err = json.Marshal(k)
	try(t, err)
	if isQuick(b, o.Key) {
		t.Error("one that was changed is taken")
	}
	try(t, os.Chmod(ours, 0o600))
	try(t, os.WriteFile(ours, b, 0o600))
	if _, err := r.Snapshots(t.Context()); err != nil {
		t.Errorf("with ours damaged: %v", err)
	}
	for i := range keyFilesMost {
		try(t, os.WriteFile(filepath.Join(o.Path, "keys", strings.Repeat("0", 62)+string(rune('a'+i%6))+string(rune('a'+i/6))), b, 0o600))
	}
	before := len(keyNames(t, r))
	r, err = Open(o)
	try(t, err)
	try(t, r.Quicken(t.Context()))
	if n := len(keyNames(t, r)); n != before {
		t.Errorf("%d key files became %d", before, n)
	}
}

// liar is a store that changes what it is given.
type liar struct {
	keyStore
	lie func(b []byte) []byte
}

func (l liar) put(ctx context.Context, name string, b []byte) error {
	return l.keyStore.put(ctx, name, l.lie(b))
}

// A key file that did not arrive whole, or that restic does not open the repository with,
// is taken back: restic gives up at one that makes no sense to it.
func TestQuickKeyFileIsProved(t *testing.T) {
	_, o := open(t)
	o.Key = NewKey()
	r, err := Open(o)
	try(t, err)
	try(t, r.Init(t.Context()))
	keys, err := r.keyFiles()
	try(t, err)
	var master strings.Builder
	try(t, r.run(t.Context(), job{args: []string{"cat", "masterkey"}, out: &master, noLock: true}))
	const other = `{"mac":{"k":"AAAAAAAAAAAAAAAAAAAAAA==","r":"AAAAAAAAAAAAAAAAAAAAAA=="},"encrypt":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`
	same := func(b []byte) []byte { return b }
	for what, c := range map[string]struct {
		master string
		lie    func([]byte) []byte
	}{
		"cut short":                 {master.String(), func(b []byte) []byte { return b[:len(b)-1] }},
		"of another repository":     {other, same},
		"of no repository":          {`{"mac":{},"encrypt":""}`, same},
		"with something else in it": {master.String(), func([]byte) []byte { b, _ := makeQuick([]byte(other), o.Key, "h"); return b }},
	} {
		if err := r.addQuick(t.Context(), liar{keys, c.lie}, c.master); err == nil {
			t.Errorf("%s: it is taken", what)
		}
		if names := keyNames(t, r); len(names) != 1 || r.hint.Load() != nil {
			t.Errorf("%s: left are %q, %v", what, names, r.hint.Load())
		}
	}
	try(t, r.addQuick(t.Context(), liar{keys, same}, master.String()))
	if names := keyNames(t, r); len(names) != 2 {
		t.Errorf("%q", names)
	}
}

// In a bucket it is the same.
func TestQuickKeyFileInABucket(t *testing.T) {
	_, o := openS3(t)
	o.Key = NewKey()
	r, err := Open(o)
	try(t, err)
	if err := r.FindQuick(t.Context()); err != nil {
		t.Errorf("before there is a repository: %v", err)
	}
	try(t, r.Init(t.Context()))
	try(t, r.Quicken(t.Context()))
	if ours := quick(t, r); len(ours) != 1 {
		t.Fatalf("%q", keyNames(t, r))
	}
	if _, err := r.Snapshots(t.Context()); err != nil {
		t.Error(err)
	}
	again, err := Open(o)
	try(t, err)
	try(t, again.FindQuick(t.Context()))
	if again.hint.Load() == nil {
		t.Error("it is not found")
	}
	o.Bucket.SecretKey = "wrong-secret-of-this-test"
	again, err = Open(o)
	try(t, err)
	if err := again.FindQuick(t.Context()); err == nil || strings.Contains(err.Error(), o.Key) {
		t.Errorf("with wrong credentials: %v", err)
	}
}

func FuzzKeyFile(f *testing.F) {
	password := NewKey()
	b, err := makeQuick([]byte(`{"mac":{"k":"AAAAAAAAAAAAAAAAAAAAAA==","r":"AAAAAAAAAAAAAAAAAAAAAA=="},"encrypt":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`), password, "h")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"kdf":"scrypt","N":1024,"r":8,"p":1}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		if !isQuick(file, password) {
			return
		}
		var got, want keyFile
		if json.Unmarshal(file, &got) != nil || json.Unmarshal(b, &want) != nil || string(got.Data) != string(want.Data) {
			t.Errorf("a forged key file is taken: %s", file)
		}
	})
}
