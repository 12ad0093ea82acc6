package image

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"staithe/internal/station"
)

// PullOptions say how to reach a registry.
type PullOptions struct {
	// PlainHTTP allows http where the registry has no https. Registries on this
	// machine and on private addresses may speak it without.
	PlainHTTP bool
	// Platform is OS/ARCH[/VARIANT]; "" is this machine's. Another is refused:
	// its programs do not run here.
	Platform string
	// Retry is the wait before a second try, doubled with each further one; 0
	// is a second.
	Retry time.Duration
}

// tries is how often a step is tried in a row without getting further.
const tries = 5

// Pull makes an image of one in a registry, as Import does of a file. Who needs
// a password logs in with docker or podman first: their configuration is read.
// A layer whose connection breaks is taken up where it broke. Everything is held
// against the digests that the manifest names.
func (s *Store) Pull(ctx context.Context, as, ref string, opts PullOptions, progress func(Progress)) (Image, error) {
	if err := CheckName(as); err != nil {
		return Image{}, err
	}
	if opts.Platform != "" && !strings.HasPrefix(opts.Platform+"/", platform+"/") {
		return Image{}, station.Errorf(station.ErrInvalid, "other_platform", "Images for %s do not run on this machine, which is %s.", short(opts.Platform), platform)
	}
	if mustMap() {
		return s.mapped(ctx, job{Do: "pull", Name: as, From: ref, Pull: opts}, progress)
	}
	if opts.Retry == 0 {
		opts.Retry = time.Second
	}
	p, err := newPuller(s, ref, opts)
	if err != nil {
		return Image{}, err
	}
	src, err := p.source(ctx)
	if err != nil {
		return Image{}, err
	}
	return s.build(ctx, as, ref, src, progress)
}

// puller pulls one image.
type puller struct {
	store *Store
	ref   name.Reference
	opts  PullOptions
	auth  authn.Authenticator
	base  http.RoundTripper
}

func newPuller(s *Store, ref string, opts PullOptions) (*puller, error) {
	var how []name.Option
	if opts.PlainHTTP {
		how = append(how, name.Insecure)
	}
	r, err := name.ParseReference(ref, how...)
	if err != nil {
		return nil, station.Errorf(station.ErrInvalid, "bad_reference", "%s is no image's reference; write HOST/NAME:TAG, as in ghcr.io/owner/name:1.2.", short(ref)).Because(err)
	}
	auth, err := authn.DefaultKeychain.Resolve(r.Context())
	if err != nil {
		return nil, station.Errorf(station.ErrUnauthenticated, "registry_login", "The stored login for %s cannot be read; log in again with docker login or podman login.", r.Context().RegistryStr()).Because(err)
	}
	return &puller{store: s, ref: r, opts: opts, auth: auth, base: newTransport()}, nil
}

func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = time.Minute
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	t.DialContext = (&net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	return t
}

// source fetches manifest and configuration; layers come when they are opened.
func (p *puller) source(ctx context.Context) (*source, error) {
	variant := ""
	if f := strings.Split(p.opts.Platform, "/"); len(f) == 3 {
		variant = f[2]
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(p.base), remote.WithAuth(p.auth), remote.WithUserAgent("staithe"),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH, Variant: variant}),
		remote.WithRetryBackoff(remote.Backoff{Duration: p.opts.Retry, Factor: 2, Jitter: 0.1, Steps: tries})}
	desc, err := remote.Get(p.ref, options...)
	if err != nil {
		return nil, p.explain(err)
	}
	if len(desc.Manifest) > maxJSON {
		return nil, tooLongJSON("manifest", int64(len(desc.Manifest)))
	}
	img, err := desc.Image()
	if err != nil {
		if desc.MediaType.IsIndex() && !isNetwork(err) {
			return nil, p.noPlatform(desc, err)
		}
		return nil, p.explain(err)
	}
	m, err := img.Manifest()
	if err != nil {
		return nil, p.explain(err)
	}
	// It is read into memory as long as the manifest says that it is; a negative
	// length is any.
	if m.Config.Size < 0 || m.Config.Size > maxJSON {
		return nil, tooLongJSON("configuration", m.Config.Size)
	}
	raw, err := img.RawConfigFile()
	if err != nil {
		return nil, p.explain(err)
	}
	cf, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return nil, brokenArchive(fmt.Errorf("configuration: %w", err))
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	fetch := &fetcher{puller: p}
	var layers []layer
	for _, d := range m.Layers {
		if _, err := blobPath(d.Digest); err != nil {
			return nil, err
		}
		layers = append(layers, layer{digest: d.Digest.String(), size: d.Size,
			open: func(ctx context.Context) (io.ReadCloser, error) { return fetch.layer(ctx, d) }})
	}
	return assemble(digest.String(), cf, layers)
}

func tooLongJSON(what string, n int64) error {
	return station.Errorf(station.ErrInvalid, "bad_archive", "The image's %s says that it is %d bytes long; no honest one is.", what, n)
}

// noPlatform says which platforms there are.
func (p *puller) noPlatform(desc *remote.Descriptor, cause error) error {
	var others []string
	if im, err := v1.ParseIndexManifest(bytes.NewReader(desc.Manifest)); err == nil {
		for _, d := range im.Manifests {
			if d.Platform != nil && d.Platform.OS != "unknown" {
				others = append(others, d.Platform.String())
			}
		}
	}
	if len(others) == 0 {
		return p.explain(cause)
	}
	return otherPlatform(strings.Join(others, ", "))
}

func isNetwork(err error) bool {
	var te *transport.Error
	var ne net.Error
	return errors.As(err, &te) || errors.As(err, &ne)
}

// explain turns what a registry or the way to it says into what to do.
func (p *puller) explain(err error) error {
	var known *station.Problem
	if errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	host, what := p.ref.Context().RegistryStr(), p.ref.String()
	var te *transport.Error
	if errors.As(err, &te) {
		return explainStatus(te, host, what)
	}
	var dns *net.DNSError
	var plain tls.RecordHeaderError
	var cert *tls.CertificateVerificationError
	unavailable := func(format string, args ...any) error {
		return station.Errorf(station.ErrUnavailable, "registry_unreachable", format, args...).Because(err)
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errStalled), errors.Is(err, syscall.ECONNRESET):
		return unavailable("The connection to %s broke, %d times in a row; try again when the network is better.", host, tries)
	case errors.As(err, &dns):
		return unavailable("There is no host %s as far as this machine knows; check the reference and the network.", host)
	case errors.As(err, &plain), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return unavailable("%s speaks http without encryption; if that is meant to be, add --plain-http.", host)
	case errors.As(err, &cert):
		return unavailable("The certificate of %s is not one that this machine trusts; install its authority, or check the host.", host)
	case strings.Contains(err.Error(), "digest"):
		return station.Errorf(station.ErrInvalid, "wrong_digest", "What %s sent for %s is not what was named: damaged or forged. Nothing was kept; try again.", host, what).Because(err)
	}
	return unavailable("%s does not answer as a registry does; check the reference and the network, and try again.", host)
}

func explainStatus(te *transport.Error, host, what string) error {
	kind, code, sentence := station.ErrUnavailable, "registry_failed", fmt.Sprintf("The registry %s failed (HTTP %d); try again later.", host, te.StatusCode)
	switch s := te.StatusCode; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		kind, code = station.ErrUnauthenticated, "registry_login"
		sentence = fmt.Sprintf("The registry does not give %s to this account: it is private, or there is none of that name. Log in with: docker login %s (or podman login).", what, host)
	case s == http.StatusNotFound:
		kind, code = station.ErrNotFound, "no_image_there"
		sentence = fmt.Sprintf("There is no %s in the registry; check its name and tag.", what)
	case s == http.StatusTooManyRequests:
		kind, code = station.ErrLimited, "registry_limit"
		sentence = fmt.Sprintf("The registry %s limits how much may be pulled, and that is used up; wait, or log in with: docker login %s.", host, host)
	}
	return station.Errorf(kind, code, "%s", sentence).Because(te)
}
