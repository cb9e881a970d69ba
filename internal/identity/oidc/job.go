package oidc

import (
	"context"
	"fmt"

	"jit-gateway/approval/mfa"
)

// Issuers are the CI systems whose tokens are second factors of machines, by
// issuer, each with the one audience that its tokens must have.
type Issuers map[string]JobIssuer

// JobIssuer is one of them.
type JobIssuer struct {
	Provider *Provider
	Audience string
}

// Verify checks a token of that issuer: signature by its published keys,
// issuer, exactly our audience, times. What its claims must be is for the caller.
func (is Issuers) Verify(ctx context.Context, issuer, raw string) (mfa.Job, error) {
	j, ok := is[issuer]
	if !ok {
		return mfa.Job{}, fmt.Errorf("the issuer %q is not among machines.issuers of the configuration", issuer)
	}
	token, err := j.Provider.verify(ctx, raw, j.Audience)
	if err != nil {
		return mfa.Job{}, err
	}
	out := mfa.Job{Issuer: token.Issuer, IssuedAt: token.IssuedAt, Expires: token.Expiry, Claims: map[string]any{}}
	if err := token.Claims(&out.Claims); err != nil {
		return mfa.Job{}, fmt.Errorf("read the token's claims: %w", err)
	}
	out.ID, _ = out.Claims["jti"].(string)
	return out, nil
}
