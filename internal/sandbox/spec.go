package sandbox

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"

	"staithe/internal/station"
)

var hostnamePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// CheckSpec refuses what would make another sandbox than the one meant: names
// are refused, never folded. Every provider's Start begins with it. Errors wrap
// station.ErrInvalid, or station.ErrUnavailable when the guest's binary is gone.
func CheckSpec(spec Spec) error {
	bad := func(format string, args ...any) error {
		return station.Errorf(station.ErrInvalid, "bad_sandbox", format, args...)
	}
	if !spec.Session.Valid() {
		return bad("The session id %+q is not one.", spec.Session)
	}
	if err := station.CheckName("user", spec.UserName); err != nil {
		return err
	}
	if err := station.CheckUIDRange(spec.UIDRange); err != nil {
		return err
	}
	if !hostnamePattern.MatchString(spec.Hostname) {
		return bad("The host name %+q is not usable: take 1 to 63 of a–z, 0–9 and -, not starting with -.", spec.Hostname)
	}
	if _, err := netip.ParseAddr(spec.Resolver); err != nil && spec.Resolver != "" {
		return bad("The name server's address %+q is not one.", spec.Resolver)
	}
	if info, err := os.Lstat(spec.Home); err != nil || !info.IsDir() || !filepath.IsAbs(spec.Home) {
		return bad("The home folder is not there; restore it or make the user anew.")
	}
	if info, err := os.Stat(spec.Guest); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 || !filepath.IsAbs(spec.Guest) {
		return station.Errorf(station.ErrUnavailable, "no_guest_binary",
			"The program that runs inside sandboxes is missing on the server; install staithe again.").Because(err)
	}
	return nil
}
