// Package ca mints credentials and never decides: SSH user certificates,
// client certificates and session tokens only from an approval.Admission
// (guarantee G1), SSH host certificates for the inner handshake.
//
// Keys: four separate ones, never used for each other: user CA, inner-host
// CA, database-client CA, page TLS; plus a root secret from which per-target
// host keys are derived. All signing goes through crypto.Signer.
package ca
