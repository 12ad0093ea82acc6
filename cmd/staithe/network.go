package main

import "staithe/internal/egress"

// wayOut is the fleet's network: sessions' ways out, and the address at which
// their DNS answers.
type wayOut struct{ *egress.Egress }

// Resolver is fleet.Network's.
func (wayOut) Resolver() string { return egress.Resolver }
