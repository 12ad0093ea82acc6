package guestapi

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"staithe/internal/station"
)

func newSigner(t testing.TB) *Signer {
	t.Helper()
	s, err := NewSigner(NewSeed())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestIdentityComesBackAsSigned(t *testing.T) {
	s, now := newSigner(t), time.Now()
	want := Identity{Session: "abcdefghijkl", User: "u", Name: "Ada", Role: station.RoleWriter, Tab: "bcdefghijklm"}
	v := Verifier{Key: s.PublicKey(), Session: want.Session}
	got, err := v.Verify(s.Sign(want, now), now)
	want.Expires = now.Add(IdentityLife).Unix()
	if err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
}

func TestIdentityThatIsNotGoodEnough(t *testing.T) {
	s, other, now := newSigner(t), newSigner(t), time.Now()
	id := Identity{Session: "abcdefghijkl", User: "u", Role: station.RoleOwner}
	v := Verifier{Key: s.PublicKey(), Session: id.Session}
	good := s.Sign(id, now)
	body, sig, _ := strings.Cut(good, ".")
	with := func(change func(*Identity)) string {
		c := id
		change(&c)
		return s.Sign(c, now)
	}
	// forever is signed by the right key, with an end that Sign would not give.
	long := id
	long.Expires = now.Add(time.Hour).Unix()
	raw, err := json.Marshal(long)
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding
	forever := enc.EncodeToString(raw) + "." + enc.EncodeToString(ed25519.Sign(s.key, raw))
	for name, token := range map[string]string{
		"empty": "", "no dot": body, "no signature": body + ".", "another's signature": body + "." + strings.Split(other.Sign(id, now), ".")[1],
		"altered": "x" + good, "twice": good + "." + sig, "too long": good + strings.Repeat("A", maxToken),
		"another session":  with(func(i *Identity) { i.Session = "bbbbbbbbbbbb" }),
		"no role":          with(func(i *Identity) { i.Role = "" }),
		"an unknown role":  with(func(i *Identity) { i.Role = "root" }),
		"nobody":           with(func(i *Identity) { i.User = "" }),
		"old":              s.Sign(id, now.Add(-IdentityLife-2*clockSkew)),
		"from the future":  s.Sign(id, now.Add(time.Hour)),
		"good for an hour": forever,
	} {
		if _, err := v.Verify(token, now); !errors.Is(err, station.ErrUnauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (&Verifier{Session: id.Session}).Verify(good, now); !errors.Is(err, station.ErrUnauthenticated) {
		t.Errorf("a guest without a key: %v", err)
	}
	if _, err := NewSigner([]byte("short")); err == nil {
		t.Error("a short seed makes a signer")
	}
}

// FuzzVerify: only what the key signed is believed, and nothing panics.
func FuzzVerify(f *testing.F) {
	s, now := newSigner(f), time.Unix(1_800_000_000, 0)
	id := Identity{Session: "abcdefghijkl", User: "u", Role: station.RoleOwner}
	v := Verifier{Key: s.PublicKey(), Session: id.Session}
	good := s.Sign(id, now)
	f.Add(good)
	f.Add("a.b")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := v.Verify(token, now); err == nil && token != good {
			t.Fatalf("believed: %q", token)
		}
	})
}
