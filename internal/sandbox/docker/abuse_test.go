package docker

import (
	"testing"

	"staithe/internal/sandbox/docker/servicetest"
	"staithe/internal/sandbox/sandboxtest"
)

// eachKilled runs a test with every service, whose child test has that service too.
func eachKilled(t *testing.T, f func(t *testing.T, open sandboxtest.Open, able sandboxtest.Abilities, childTest string)) {
	for _, kind := range []Kind{Docker, Podman} {
		t.Run(string(kind), func(t *testing.T) {
			open := opener(t, kind)
			t.Setenv(servicetest.HostEnv+string(kind), need(t, kind))
			t.Setenv("STAITHE_TEST_KIND", string(kind))
			f(t, open, able(kind), "TestChild")
		})
	}
}

func TestAbuse40_KilledInTheMiddleOfAStart(t *testing.T) { eachKilled(t, sandboxtest.KilledStarts) }
