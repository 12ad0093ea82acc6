package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"staithe/internal/gateway"
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

// classChecks looks whether a class's sandboxes can be made here.
func classChecks(class station.Class) []sandbox.Check { return preflight(class.Runtime) }
