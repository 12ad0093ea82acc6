package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"staithe/internal/config"
	"staithe/internal/station"
)

// origin is one scheme and host that people reach the server under.
type origin struct{ scheme, host string }

func (o origin) String() string { return o.scheme + "://" + o.host }

// origins are the server's own names. Host headers and Origin headers are
// checked against them: against DNS rebinding, and against foreign pages.
type origins struct {
	public string            // what links show
	byHost map[string]origin // by Host header, lower case
}

// newOrigins takes the public URL and, on a loopback listener, the loopback
// names. addr is where the server listens, nil when that is not known yet.
func newOrigins(cfg config.Config, addr net.Addr) (*origins, error) {
	o := &origins{byHost: map[string]origin{}}
	listen := cfg.Listen
	if addr != nil {
		listen = addr.String()
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("listen address: %w", err)
	}
	ip, err := netip.ParseAddr(host)
	if err == nil && ip.IsLoopback() || host == "localhost" {
		for _, name := range []string{host, "localhost", "127.0.0.1", "::1"} {
			o.add(origin{"http", net.JoinHostPort(name, port)})
		}
		o.public = normal("http", net.JoinHostPort(host, port)).String()
	}
	if cfg.URL != "" {
		u, err := url.Parse(cfg.URL)
		if err != nil {
			return nil, fmt.Errorf("public URL: %w", err)
		}
		o.add(origin{u.Scheme, u.Host})
		o.public = normal(u.Scheme, u.Host).String()
	}
	return o, nil
}

// add knows the host with and without its scheme's default port, as clients
// send either.
func (o *origins) add(v origin) {
	n := normal(v.scheme, v.host)
	o.byHost[n.host] = n
	if _, _, err := net.SplitHostPort(n.host); err != nil {
		o.byHost[n.host+defaultPort[n.scheme]] = n
	}
}

var defaultPort = map[string]string{"http": ":80", "https": ":443"}

func normal(scheme, host string) origin {
	return origin{scheme, strings.TrimSuffix(strings.ToLower(host), defaultPort[scheme])}
}

// ofHost is the own origin that a request was sent to. A wrong Host is refused:
// a page on a name that was re-pointed to this address is foreign.
func (o *origins) ofHost(r *http.Request) (origin, error) {
	if v, ok := o.byHost[strings.ToLower(r.Host)]; ok {
		return v, nil
	}
	return origin{}, &problem{Status: http.StatusMisdirectedRequest, Code: "wrong_host", Detail: fmt.Sprintf(
		"This server is not known by that name; open %s, or set --url to the address you use (a proxy must pass the Host header on).", o.public)}
}

// checkOrigin judges the Origin header (RFC 6454) of a request that was sent
// to own. present tells whether there was one at all.
func checkOrigin(r *http.Request, own origin) (present bool, err error) {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return false, nil
	}
	if len(values) == 1 {
		u, perr := url.Parse(values[0])
		if perr == nil && u.Host != "" && normal(u.Scheme, u.Host) == own && u.Path == "" && u.User == nil {
			return true, nil
		}
	}
	return true, station.Errorf(station.ErrForbidden, "foreign_origin",
		"Another site's page tried to do this; open %s yourself.", own)
}

// address is where a request came from: the peer, or what listed proxies say.
// X-Forwarded-For is read from the right; the first that is no listed proxy is
// the client, whatever it wrote further left.
func (g *Gateway) address(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && g.trusts(addr); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = next.Unmap()
	}
	return addr
}

func (g *Gateway) trusts(a netip.Addr) bool {
	for _, p := range g.cfg.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
