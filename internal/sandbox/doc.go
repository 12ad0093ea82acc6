// Package sandbox runs a session's isolated sandbox: one Runtime interface,
// one conformance suite (sandboxtest), and a provider per way to do it. The
// oci provider drives an installed OCI runtime (crun or runc).
package sandbox
