package oci

import (
	"os"
	"strings"
	"testing"

	"staithe/internal/station"
)

// The words follow the class and the host.
func TestDescribe(t *testing.T) {
	r := &Runtime{root: true, cgroups: with(cgroupV2, t.TempDir(), allControllers...)}
	for _, c := range []struct {
		class     station.Class
		has, hasn []string
	}{
		{station.Class{Runtime: "runc"}, []string{"made by runc", "host's kernel", "no capabilities", "idmapped"}, []string{"ot limited", "root inside"}},
		{station.Class{Runtime: "crun", Base: "debian", Sudo: true, Network: station.NetworkPolicy{Mode: station.NetworkInternet}},
			[]string{"become root inside"}, []string{"no capabilities", "image", "addresses"}},
		{station.Class{Runtime: "runsc"}, []string{"kernel of its own", "slower", "locks"}, []string{"shares the host's kernel", "ot limited"}},
		{station.Class{Base: "debian"}, []string{"ot limited by itself", "outside of its home"}, nil},
	} {
		got := r.Describe(c.class)
		for _, word := range c.has {
			if !strings.Contains(got, word) {
				t.Errorf("%+v: %q does not say %q", c.class, got, word)
			}
		}
		for _, word := range c.hasn {
			if strings.Contains(got, word) {
				t.Errorf("%+v: %q says %q", c.class, got, word)
			}
		}
	}
	rootless := (&Runtime{cgroups: with(cgroupNone, "")}).Describe(station.Class{Limits: station.Limits{CPU: 1}})
	for _, word := range []string{"rootless", "one uid", "Not limited here: processor time, memory"} {
		if !strings.Contains(rootless, word) {
			t.Errorf("%q does not say %q", rootless, word)
		}
	}
}

// Advice that is not good says how it gets better, and trying leaves nothing.
func TestAdvice(t *testing.T) {
	data := t.TempDir()
	for _, c := range Advice(data) {
		if c.Name == "" || c.Detail == "" || !c.OK && c.Fix == "" {
			t.Errorf("%+v", c)
		}
		t.Logf("%s: %v: %s", c.Name, c.OK, c.Detail)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
}
