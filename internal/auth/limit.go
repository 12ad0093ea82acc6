package auth

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"staithe/internal/station"
)

// Address is where a request came from, as far as trusted proxies tell.
type Address = netip.Addr

// Limited is a refusal that says when to come again. It wraps ErrLimited.
type Limited struct {
	*station.Problem
	RetryAfter time.Duration
}

// Unwrap finds the problem.
func (l *Limited) Unwrap() error { return l.Problem }

func limited(wait time.Duration) error {
	seconds := int(wait/time.Second) + 1
	return &Limited{station.Errorf(station.ErrLimited, "too_many_attempts",
		"Too many attempts; wait %d s and try again.", seconds), time.Duration(seconds) * time.Second}
}

// maxKeys bounds each limiter's memory (about 10 MB): a stranger chooses keys.
const maxKeys = 50_000

// limits holds the guesses that are allowed. Wrong passwords for one account
// from one address, from one address at all, and for one account from
// everywhere are bounded apart. The last alone would let anybody lock a person
// out: who has signed in before, from this address or with this browser's
// device cookie, is not held by it.
type limits struct {
	pair    *bucketSet // (account, address)
	address *bucketSet
	account *bucketSet
	device  *bucketSet // (account, device cookie): a browser that has signed in before

	most  int // keys of each kind
	mu    sync.Mutex
	known map[string]struct{} // pairs that have signed in; guarded by mu
}

func newLimits(most int) *limits {
	return &limits{
		pair:    newBucketSet(rate.Every(3*time.Second), 10, most),
		address: newBucketSet(2, 60, most),
		account: newBucketSet(rate.Every(2*time.Second), 200, most),
		device:  newBucketSet(rate.Every(3*time.Second), 10, most),
		most:    most,
		known:   map[string]struct{}{},
	}
}

// network is the key of an address: IPv6 users own a whole /64.
func network(a Address) string {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// accountKey bounds the key of whatever was typed as a user's name.
func accountKey(name string) string {
	if station.CheckName("user", name) != nil {
		return "" // no such user can exist: all such guesses share one key
	}
	return name
}

func pairKey(name string, a Address) string { return accountKey(name) + " " + network(a) }

// password takes one attempt at an account's password.
func (l *limits) password(name string, a Address, now time.Time) error {
	pair := pairKey(name, a)
	if err := l.pair.take(pair, now); err != nil {
		return err
	}
	if err := l.address.take(network(a), now); err != nil {
		return err
	}
	l.mu.Lock()
	_, known := l.known[pair]
	l.mu.Unlock()
	if known {
		return nil
	}
	return l.account.take(accountKey(name), now)
}

// fromDevice takes one attempt by a browser that has signed in to the account
// before: what strangers do, even from the same address, does not count.
func (l *limits) fromDevice(name string, device [32]byte, now time.Time) error {
	return l.device.take(fmt.Sprintf("%s %x", accountKey(name), device), now)
}

// link takes one attempt at a setup, invite or reset link.
func (l *limits) link(a Address, now time.Time) error { return l.address.take(network(a), now) }

// forgive forgets the attempts before a right password.
func (l *limits) forgive(name string, a Address) {
	pair := pairKey(name, a)
	l.pair.forget(pair)
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.known { // an arbitrary one goes when there are too many
		if len(l.known) < l.most {
			break
		}
		delete(l.known, k)
	}
	l.known[pair] = struct{}{}
}

// bucketSet is one token bucket per key. Safe for concurrent use.
type bucketSet struct {
	rate  rate.Limit
	burst int
	most  int // keys

	mu      sync.Mutex
	buckets map[string]*rate.Limiter // guarded by mu
}

func newBucketSet(r rate.Limit, burst, most int) *bucketSet {
	return &bucketSet{rate: r, burst: burst, most: most, buckets: map[string]*rate.Limiter{}}
}

func (s *bucketSet) take(key string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.buckets[key]
	if !ok {
		if len(s.buckets) >= s.most {
			s.purge(now)
		}
		b = rate.NewLimiter(s.rate, s.burst)
		s.buckets[key] = b
	}
	r := b.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return limited(wait)
	}
	return nil
}

func (s *bucketSet) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.buckets, key)
}

// purge drops buckets that are full again, which are as good as new, and then
// arbitrary ones until a tenth is free, so that it is not called for each key.
func (s *bucketSet) purge(now time.Time) {
	for k, b := range s.buckets {
		if b.TokensAt(now) >= float64(s.burst) {
			delete(s.buckets, k)
		}
	}
	for k := range s.buckets {
		if len(s.buckets) <= s.most*9/10 {
			return
		}
		delete(s.buckets, k)
	}
}
