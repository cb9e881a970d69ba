// Package ca mints credentials and never decides: SSH user certificates,
// client certificates and session tokens only from an approval.Admission
// (guarantee G1), and SSH host certificates for the inner handshake, which
// precede admission and open nothing.
//
// Keys: separate ones, never used for each other: user CA, inner-host CA,
// database-client CA, page CA, the gateway's own host keys; and a root secret
// from which per-target host keys and SCRAM salts are derived. Init makes
// them, Load refuses files that others may read. All signing goes through
// crypto.Signer or ssh.Signer.
//
// It refuses: an admission that is not live, a certificate with no or an
// ambiguous principal (x/crypto and OpenSSH would read it as "anyone" or as
// several: CVE-2024-7594, CVE-2026-35414), one that outlives the grant, one
// without a source address, and a token that nobody has promised to end.
//
// Start reading at Authority, then UserCert and Tokens.Mint.
package ca
