package e2e

import "testing"

// Programs keep their settings in the home, where they outlive the session.
func TestSettingsAreInTheHome(t *testing.T) {
	s := serve(t)
	script := `for d in "$XDG_CONFIG_HOME" "$XDG_DATA_HOME" "$XDG_STATE_HOME" "$XDG_CACHE_HOME"; do
	case $d in "$HOME"/*) stat -c %a "$d" && touch "$d/kept";; *) echo "outside: $d";; esac; done`
	if out := shellOutput(t, s, "main", script); out != "700\n700\n700\n700\n" {
		t.Fatalf("%q", out)
	}
	if got := s.bearer(s.token).read(".local/state/kept"); got != "" {
		t.Errorf("%q", got)
	}
}
