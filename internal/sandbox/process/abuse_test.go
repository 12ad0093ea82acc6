package process

import (
	"testing"

	"staithe/internal/sandbox/sandboxtest"
)

func TestAbuse40_KilledInTheMiddleOfAStart(t *testing.T) {
	sandboxtest.KilledStarts(t, open, able, "TestChild")
}
