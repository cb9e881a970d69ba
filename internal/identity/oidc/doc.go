// Package oidc lets an OpenID Connect provider say who somebody is: people who
// sign in to the page, and jobs of a CI system that show a token.
//
// A sign-in is the authorization code flow with PKCE (S256), state and nonce.
// What was begun is kept by the browser alone, sealed, in a Lax cookie, and
// each beginning can be finished once. What is refused: tokens that are not
// signed by a key of the provider's own key set, of another issuer, for
// another client, expired, of another flow (nonce), and an answer that was not
// asked for or was given before (state).
//
// The provider says who it is, never what they may do beyond the groups that
// the configuration names: see Accounts. It is no second factor either: after
// it the page still asks for a code.
//
// Start reading at SignIn.Begin and SignIn.Finish.
package oidc
