package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"staithe/internal/gateway"
	"staithe/internal/image"
	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// freshFor is how long what was found about a runtime is believed: somebody may
// install one while the server runs.
const freshFor = 15 * time.Second

// catalog tells of the classes: what they are and whether they can be had now.
// Safe for concurrent use.
type catalog struct {
	classes  []station.Class
	def      string                     // the default's name
	describe func(station.Class) string // the boundary in plain words
	check    func(station.Class) []sandbox.Check

	mu    sync.Mutex
	asked time.Time
	last  []gateway.ClassState
}

// list is every class as it is now, in the settings' order.
func (c *catalog) list(context.Context) []gateway.ClassState {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.asked) < freshFor {
		return c.last
	}
	var out []gateway.ClassState
	for _, class := range c.classes {
		class.Boundary = c.describe(class)
		out = append(out, gateway.ClassState{Class: class, Isolated: class.Runtime != runtimeProcess,
			Default: class.Name == c.def, Why: whyNot(c.check(class))})
	}
	c.last, c.asked = out, time.Now()
	return out
}

// whyNot is the first check that fails, as a sentence; empty when all hold.
func whyNot(checks []sandbox.Check) string {
	for _, c := range checks {
		if !c.OK {
			return capital(strings.TrimRight(c.Detail, ".")) + "; to fix it: " + strings.TrimRight(c.Fix, ".") + "."
		}
	}
	return ""
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// classChecker returns what looks whether a class's sessions can be made here:
// its runtime, its image, its network. images is nil when there are none;
// wayOut is why no network can be made.
func classChecker(images *image.Store, wayOut error) func(station.Class) []sandbox.Check {
	return func(c station.Class) []sandbox.Check {
		checks := preflight(c.Runtime)
		if c.Base != "" && c.Base != station.BaseHost {
			checks = append(checks, checkImage(images, c.Base))
		}
		if c.Network.Mode != station.NetworkNone && wayOut != nil {
			checks = append(checks, sandbox.Check{Name: "network", Detail: strings.TrimRight(sentenceOf(wayOut), "."), Fix: "or give the class network = none"})
		}
		return checks
	}
}

func checkImage(images *image.Store, name string) sandbox.Check {
	c := sandbox.Check{Name: "image", OK: true, Detail: name}
	missing := sandbox.Check{Name: "image", Detail: "there is no image " + name + " in the data directory",
		Fix: "staithe image import " + name + " FILE, or staithe image pull " + name + " REFERENCE"}
	if images == nil {
		return missing
	}
	switch err := images.Check(name); {
	case err == nil:
		return c
	case errors.Is(err, station.ErrNotFound):
		return missing
	default:
		return sandbox.Check{Name: "image", Detail: "the image " + name + " cannot be used: " + sentenceOf(err), Fix: "import another one under this name"}
	}
}

// sentenceOf is what a person is told of an error.
func sentenceOf(err error) string {
	var p *station.Problem
	if errors.As(err, &p) {
		return p.Sentence
	}
	return err.Error()
}
