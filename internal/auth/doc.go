// Package auth says who a request is from and what it may do: setup, passwords,
// logins, API tokens, tickets, invite and reset links, and rate limits.
//
// Logins live in a table of our own and not in scs: a login has to be found by
// its user (disabling a user, changing a password ends them all), by its id
// (live connections ask whether theirs is still good) and is stored only as a
// hash; scs stores opaque blobs under the token itself and can do none of it.
//
// Every secret is 32 random bytes, shown once, and kept as SHA-256: with that
// much entropy a slow hash would only be slow. Passwords are argon2id.
//
// An Auth is safe for concurrent use. Errors are station.Problems; a refused
// attempt over a rate limit is a *Limited, which says when to come again.
package auth
