// Package guestapi is what the gateway's side and the guest say to each other:
// the guest's paths and types, the signed identity that every request carries,
// and a client.
//
// The guest listens on one stream socket that the host made and speaks HTTP/1.1
// there. Every request but GET /v1/health carries
//
//	Authorization: Staithe-Identity TOKEN
//
// where TOKEN is an Ed25519-signed Identity for exactly that session, valid for
// a minute. A guest holds only the public key: it can check, never mint.
package guestapi
