// Package scim is a SCIM 2.0 server (RFC 7643, RFC 7644) for joiners, movers
// and leavers: an identity provider makes accounts, moves people between the groups
// that the configuration names, and takes accounts away. Taking away is one
// audit event, which ends grants and sessions wherever they are.
//
// It is what Entra and Okta really send that counts: operations in capitals,
// "False" as text, values without a path, members removed by a filter or by a list.
//
// What it refuses: requests without the bearer token; groups that the
// configuration does not name; accounts whose name is taken or named by a
// rule (identities link by SCIM id alone, never by name); to see or touch an
// account that it does not manage; to enable what an administrator disabled. It
// registers no key and no factor, ever.
//
// Start reading at Server.ServeHTTP.
package scim
