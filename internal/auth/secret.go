package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
)

// hidden is what a secret looks like wherever it is printed by accident.
const hidden = "[secret]"

// Secret is a token, ticket, link or cookie in the clear. It prints and logs
// as [secret]; Reveal gives the text for the one place it is meant for.
type Secret struct{ text string }

// NewSecret wraps what a client sent.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return s.text }

// Empty reports whether there is none.
func (s Secret) Empty() bool { return s.text == "" }

// LogValue keeps the secret out of logs.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// String keeps the secret out of string building.
func (Secret) String() string { return hidden }

// Format keeps the secret out of every other verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// MarshalText keeps the secret out of JSON that nobody meant to hold it.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// mint returns a fresh secret of 256 bits behind a prefix.
func mint(prefix string) Secret {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return Secret{prefix + base64.RawURLEncoding.EncodeToString(b[:])}
}

func (s Secret) hash() [32]byte { return sha256.Sum256([]byte(s.text)) }
