package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

func vectors[T any](t testing.TB, file string) []T {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var out []T
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(out) == 0 {
		t.Fatalf("%s holds no vectors", file)
	}
	return out
}

type frameVector struct {
	Name    string
	Hex     string
	Repeat  int
	Channel uint8
	Payload string
	Error   bool
}

func (v frameVector) bytes(t testing.TB) []byte {
	if v.Repeat > 0 {
		return make([]byte, v.Repeat)
	}
	b, err := hex.DecodeString(v.Hex)
	if err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	return b
}

func TestFrameVectors(t *testing.T) {
	for _, v := range vectors[frameVector](t, "frames.json") {
		ch, payload, err := Split(v.bytes(t))
		if v.Error {
			if !errors.Is(err, ErrProtocol) {
				t.Errorf("%s: error %v, want ErrProtocol", v.Name, err)
			}
			continue
		}
		if err != nil || ch != v.Channel || hex.EncodeToString(payload) != v.Payload {
			t.Errorf("%s: got %d %x %v", v.Name, ch, payload, err)
		}
		if got := AppendFrame(nil, ch, payload); !bytes.Equal(got, v.bytes(t)) {
			t.Errorf("%s: encodes to %x", v.Name, got)
		}
	}
}

type clientVector struct {
	Name, Text, Want string
	Same             bool
}

func TestClientVectors(t *testing.T) {
	for _, v := range vectors[clientVector](t, "client.json") {
		m, err := ParseClient([]byte(v.Text))
		got := "protocol"
		switch {
		case err != nil && !errors.Is(err, ErrProtocol):
			t.Errorf("%s: error does not wrap ErrProtocol: %v", v.Name, err)
		case err == nil:
			got = m.clientType()
			if _, ok := m.(*UnknownType); ok {
				got = "unknown_type"
			}
		}
		if got != v.Want {
			t.Errorf("%s: got %s (%v), want %s", v.Name, got, err, v.Want)
			continue
		}
		if v.Same {
			if enc := AppendClient(nil, m); string(enc[1:]) != v.Text || enc[0] != ControlChannel {
				t.Errorf("%s: encodes to\n%s, want\n%s", v.Name, enc[1:], v.Text)
			}
		}
	}
}

type serverVector struct{ Name, Type, Text string }

func TestServerVectors(t *testing.T) {
	for _, v := range vectors[serverVector](t, "server.json") {
		m, err := ParseServer([]byte(v.Text))
		if err != nil || m == nil {
			t.Errorf("%s: %v %v", v.Name, m, err)
			continue
		}
		if m.serverType() != v.Type {
			t.Errorf("%s: type %s, want %s", v.Name, m.serverType(), v.Type)
		}
		if enc := AppendServer(nil, m); string(enc[1:]) != v.Text {
			t.Errorf("%s: encodes to\n%s, want\n%s", v.Name, enc[1:], v.Text)
		}
	}
}

func TestServerTypeOfLaterVersionIsNoError(t *testing.T) {
	if m, err := ParseServer([]byte(`{"type":"hologram","x":1}`)); m != nil || err != nil {
		t.Fatalf("got %v, %v", m, err)
	}
}

// FuzzParseClient: whatever a client sends is decoded or refused, and what is
// decoded survives an encoding and decoding again.
func FuzzParseClient(f *testing.F) {
	for _, v := range vectors[clientVector](f, "client.json") {
		f.Add([]byte(v.Text))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := ParseClient(payload)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatalf("error does not wrap ErrProtocol: %v", err)
			}
			return
		}
		if _, ok := m.(*UnknownType); ok {
			return
		}
		enc := AppendClient(nil, m)
		again, err := ParseClient(enc[1:])
		if err != nil {
			t.Fatalf("decoded once, not twice: %v\n%s", err, enc[1:])
		}
		if enc2 := AppendClient(nil, again); !bytes.Equal(enc, enc2) {
			t.Fatalf("not stable:\n%s\n%s", enc, enc2)
		}
	})
}

// FuzzParseServer: a hostile guest's frames never panic a client.
func FuzzParseServer(f *testing.F) {
	for _, v := range vectors[serverVector](f, "server.json") {
		f.Add([]byte(v.Text))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := ParseServer(payload)
		if err != nil && !errors.Is(err, ErrProtocol) {
			t.Fatalf("error does not wrap ErrProtocol: %v", err)
		}
		if m != nil {
			AppendServer(nil, m)
		}
	})
}

// FuzzSplit: any message is a channel and a payload, or refused.
func FuzzSplit(f *testing.F) {
	for _, v := range vectors[frameVector](f, "frames.json") {
		f.Add(v.bytes(f))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		ch, p, err := Split(msg)
		if err == nil && !bytes.Equal(AppendFrame(nil, ch, p), msg) {
			t.Fatalf("%x does not come back", msg)
		}
	})
}
