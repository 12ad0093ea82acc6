// Package e2e drives the running binary as people do, and keeps the rules of
// the house that span rooms. It has only tests; bench/ measures.
package e2e
