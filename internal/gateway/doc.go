// Package gateway is the HTTP door: the page, the REST API, and the WebSockets
// that it relays to the guests.
//
// routes.go lists every way in; each action has a short file of its own;
// problem.go is the only table from errors to RFC 9457 documents. The gateway
// holds no terminal state: it says who somebody is and whether they may, and
// from then on whole WebSocket messages pass both ways unread.
//
// What a client says about itself (X-User-*, X-Session-*, X-Forwarded-* unless
// from a listed proxy) is never believed, and what a guest says is hostile:
// bounded, decoded, encoded anew.
package gateway
