package pgproxy

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
)

// endPoint is the tls-server-end-point channel binding of a certificate (RFC
// 5929, 4.1): its hash with the hash of its own signature, SHA-256 in the
// place of MD5 and SHA-1. It is nil where the signature has no such hash
// (Ed25519): then there is nothing to bind to.
func endPoint(c *x509.Certificate) []byte {
	switch c.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.DSAWithSHA256, x509.ECDSAWithSHA256:
		h := sha256.Sum256(c.Raw)
		return h[:]
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h := sha512.Sum384(c.Raw)
		return h[:]
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h := sha512.Sum512(c.Raw)
		return h[:]
	}
	return nil
}
