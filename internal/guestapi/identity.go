package guestapi

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"staithe/internal/station"
)

// IdentityLife is how long a signed identity may be presented. A connection
// opened with it may live longer: the gateway ends it when the right ends.
const IdentityLife = 60 * time.Second

// clockSkew is allowed between two clocks of one host (a suspended sandbox).
const clockSkew = 5 * time.Second

// Scheme is the Authorization scheme of a signed identity.
const Scheme = "Staithe-Identity"

// maxToken bounds what Verify decodes.
const maxToken = 2048

// Identity says on whose behalf the gateway speaks to a guest.
type Identity struct {
	Session station.ID   `json:"sid"`           // the only session it is good for
	User    station.ID   `json:"sub"`           // the principal
	Name    string       `json:"name"`          // shown to others
	Role    station.Role `json:"role"`          // the ceiling of what it may do
	Tab     station.ID   `json:"tab,omitempty"` // when set, sees and touches that tab alone
	Expires int64        `json:"exp"`           // Unix seconds
}

// Signer mints identities. Safe for concurrent use.
type Signer struct{ key ed25519.PrivateKey }

// NewSigner makes a signer of a 32-byte seed.
func NewSigner(seed []byte) (*Signer, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("identity key: want %d bytes, have %d", ed25519.SeedSize, len(seed))
	}
	return &Signer{ed25519.NewKeyFromSeed(seed)}, nil
}

// NewSeed returns a fresh random seed for NewSigner.
func NewSeed() []byte {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails
	return seed
}

// PublicKey is what a guest is given to verify with.
func (s *Signer) PublicKey() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// Sign returns a token for id, valid for IdentityLife from now.
func (s *Signer) Sign(id Identity, now time.Time) string {
	id.Expires = now.Add(IdentityLife).Unix()
	body, err := json.Marshal(id)
	if err != nil {
		panic(fmt.Sprintf("guestapi: identity does not encode: %v", err)) // strings and ints only
	}
	enc := base64.RawURLEncoding
	return enc.EncodeToString(body) + "." + enc.EncodeToString(ed25519.Sign(s.key, body))
}

// Verifier checks identities for one session. Safe for concurrent use.
type Verifier struct {
	Key     ed25519.PublicKey
	Session station.ID
}

// Verify returns the identity in token. The error wraps
// station.ErrUnauthenticated when it is not genuine, not for this session or
// out of time.
func (v *Verifier) Verify(token string, now time.Time) (Identity, error) {
	bad := func(why string) (Identity, error) {
		return Identity{}, station.Errorf(station.ErrUnauthenticated, "bad_identity", "The gateway's identity was not accepted: %s.", why)
	}
	if len(token) > maxToken {
		return bad("too long")
	}
	b, s, ok := strings.Cut(token, ".")
	if !ok {
		return bad("malformed")
	}
	enc := base64.RawURLEncoding.Strict()
	body, err1 := enc.DecodeString(b)
	sig, err2 := enc.DecodeString(s)
	if err1 != nil || err2 != nil {
		return bad("malformed")
	}
	if len(v.Key) != ed25519.PublicKeySize || !ed25519.Verify(v.Key, body, sig) {
		return bad("wrong signature")
	}
	var id Identity
	if err := json.Unmarshal(body, &id); err != nil {
		return bad("malformed")
	}
	exp := time.Unix(id.Expires, 0)
	switch {
	case id.Session != v.Session:
		return bad("it is for another session")
	case !now.Before(exp.Add(clockSkew)):
		return bad("it is out of time")
	case exp.After(now.Add(IdentityLife + clockSkew)):
		return bad("it is valid for too long")
	case !id.Role.Valid() || id.User == "":
		return bad("it names no one")
	}
	return id, nil
}
