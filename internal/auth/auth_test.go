package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/argon2id"

	"staithe/internal/station"
)

func TestSecretsDoNotPrint(t *testing.T) {
	s := mint(tokenPrefix)
	if len(s.Reveal()) != len(tokenPrefix)+43 || s.Reveal() == mint(tokenPrefix).Reveal() {
		t.Fatalf("not 256 fresh bits: %d characters", len(s.Reveal()))
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "in", SignIn{Cookie: s})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "in", SignIn{Cookie: s})
	js, err := json.Marshal(map[string]any{"s": s, "in": SignIn{Cookie: s}})
	if err != nil {
		t.Fatal(err)
	}
	all := log.String() + string(js) + fmt.Sprintf("%v %s %+v %#v %q %x %d", s, s, s, s, s, s, s) + fmt.Sprintf("%+v %#v", SignIn{Cookie: s}, &Link{Token: s})
	if strings.Contains(all, s.Reveal()) || strings.Contains(all, fmt.Sprintf("%x", s.Reveal())) {
		t.Error(all)
	}
}

func TestPasswordRules(t *testing.T) {
	for p, good := range map[string]bool{"": false, "1234567": false, "12345678": true, "пароль12": true, "пароль1": false,
		strings.Repeat("x", 1024): true, strings.Repeat("x", 1025): false, "        ": true} {
		if err := CheckPassword(NewSecret(p)); (err == nil) != good || err != nil && !errors.Is(err, station.ErrInvalid) {
			t.Errorf("%.20q: %v", p, err)
		}
	}
}

func TestOnlyAFewHashesAtOnce(t *testing.T) {
	h, err := newHasher(&argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32})
	if err != nil {
		t.Fatal(err)
	}
	var releases []func()
	for range cap(h.slots) {
		release, err := h.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	// The next waits; it is not turned away, and not let in.
	done := make(chan error, 1)
	go func() {
		_, err := h.hash(t.Context(), NewSecret("12345678"))
		done <- err
	}()
	select {
	case err := <-done:
		t.Errorf("one too many ran: %v", err)
	default:
	}
	for _, release := range releases {
		release()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if ok, err := h.matches(t.Context(), NewSecret(""), ""); ok || err != nil {
		t.Errorf("no hash matches nothing: %v, %v", ok, err)
	}
}

func TestNobodyQueuesForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hasher{slots: make(chan struct{}, 1)}
		release, err := h.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if _, err := h.acquire(t.Context()); !errors.Is(err, station.ErrLimited) {
			t.Errorf("%v", err)
		}
	})
}

func TestLimits(t *testing.T) {
	now := time.Now()
	l := newLimits(maxKeys)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	guesses := func(name string, from Address, n int) (passed int) {
		for range n {
			if l.password(name, from, now) == nil {
				passed++
			}
		}
		return passed
	}
	if n := guesses("ada", a, 1000); n != 10 {
		t.Errorf("%d guesses at one account from one address", n)
	}
	if n := guesses("ada", b, 5); n != 5 {
		t.Errorf("another address is held too: %d", n)
	}
	now = now.Add(3 * time.Second)
	if n := guesses("ada", a, 5); n != 1 {
		t.Errorf("%d guesses after 3 s", n)
	}
	spread := 0
	for i := range 100 {
		spread += guesses(fmt.Sprintf("user%d", i), a, 10)
	}
	if spread > 70 {
		t.Errorf("%d guesses at many accounts from one address", spread)
	}
	err := l.password("ada", a, now)
	var limited *Limited
	if !errors.As(err, &limited) || limited.RetryAfter < time.Second || limited.RetryAfter > 4*time.Second || !errors.Is(err, station.ErrLimited) {
		t.Errorf("%v", err)
	}
}

func TestAccountLimitSparesWhoSignedInBefore(t *testing.T) {
	now := time.Now()
	l := newLimits(maxKeys)
	home := netip.MustParseAddr("198.51.100.1")
	l.forgive("ada", home)
	for i := range 400 {
		l.password("ada", netip.AddrFrom4([4]byte{10, 0, byte(i / 250), byte(i % 250)}), now)
	}
	if err := l.password("ada", netip.MustParseAddr("198.51.100.2"), now); !errors.Is(err, station.ErrLimited) {
		t.Errorf("a stranger passes the account's limit: %v", err)
	}
	if err := l.password("ada", home, now); err != nil {
		t.Errorf("the person's own address is held: %v", err)
	}
	if err := l.fromDevice("ada", [32]byte{1}, now); err != nil {
		t.Errorf("the person's own browser is held: %v", err)
	}
	if err := l.password("bob", home, now); err != nil {
		t.Errorf("another account is held: %v", err)
	}
}

func TestOneIPv6NetworkIsOneAddress(t *testing.T) {
	now, l, passed := time.Now(), newLimits(maxKeys), 0
	for i := range 100 {
		if l.password("ada", netip.MustParseAddr(fmt.Sprintf("2001:db8:1:2::%x", i)), now) == nil {
			passed++
		}
	}
	if passed != 10 {
		t.Errorf("%d guesses from one /64", passed)
	}
	if network(netip.MustParseAddr("::ffff:192.0.2.1")) != "192.0.2.1" || network(netip.MustParseAddr("fe80::1%eth0")) != "fe80::/64" {
		t.Error("mapped or zoned addresses have keys of their own")
	}
}

func TestLimitersAreBounded(t *testing.T) {
	const maxKeys = 500
	now, l := time.Now(), newLimits(maxKeys)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range maxKeys {
				a := netip.AddrFrom4([4]byte{byte(10 + w), byte(i >> 16), byte(i >> 8), byte(i)})
				l.password(fmt.Sprintf("u%d", i), a, now)
				l.forgive(fmt.Sprintf("u%d", i), a)
			}
		})
	}
	wg.Wait()
	for name, n := range map[string]int{"pair": len(l.pair.buckets), "address": len(l.address.buckets), "account": len(l.account.buckets), "known": len(l.known)} {
		if n > maxKeys {
			t.Errorf("%s keeps %d keys", name, n)
		}
	}
	// Malformed names cannot fill the map at all.
	before := len(l.account.buckets)
	for i := range 100 {
		l.password(fmt.Sprintf("NOT A NAME %d", i), netip.MustParseAddr("192.0.2.9"), now)
	}
	if got := len(l.account.buckets); got > before+1 {
		t.Errorf("%d keys for malformed names", got-before)
	}
}

func TestRevocationTouches(t *testing.T) {
	mine := station.Credential{Kind: station.CredentialLogin, ID: "l1", User: "u1"}
	for r, want := range map[Revocation]bool{
		{User: "u1"}: true, {User: "u1", Credential: "l1"}: true, {User: "u1", Credential: "l2"}: false, {User: "u2"}: false, {User: "u1", Spare: "l1"}: true,
	} {
		if r.Touches(mine) != want {
			t.Errorf("%+v", r)
		}
	}
}

func TestScopes(t *testing.T) {
	all, narrow := Principal{Scopes: []string{ScopeAll}}, Principal{Scopes: []string{ScopeTerminal}}
	if !all.Can() || !all.Can("anything") || narrow.Can() || !narrow.Can(ScopeSessions, ScopeTerminal) || narrow.Can(ScopeSessions) || (Principal{}).Can(ScopeTerminal) {
		t.Error("Can")
	}
	for _, scopes := range [][]string{nil, {""}, {"root"}, {"terminal", "x"}} {
		if err := checkToken(all, "", scopes, 0); !errors.Is(err, station.ErrInvalid) {
			t.Errorf("%q: %v", scopes, err)
		}
	}
	if err := checkToken(narrow, "", []string{ScopeAll}, 0); !errors.Is(err, station.ErrForbidden) {
		t.Errorf("a narrow token makes a wide one: %v", err)
	}
	if err := checkToken(all, "", []string{ScopeAll}, -time.Second); !errors.Is(err, station.ErrInvalid) {
		t.Errorf("a life before now: %v", err)
	}
}
