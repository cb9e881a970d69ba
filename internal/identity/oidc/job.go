package oidc

import (
	"context"
	"fmt"
	"time"
)

// A JobToken is what a CI system says about one of its jobs, verified.
type JobToken struct {
	Issuer   string
	ID       string // jti
	IssuedAt time.Time
	Expires  time.Time
	Claims   map[string]any
}

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
func (is Issuers) Verify(ctx context.Context, issuer, raw string) (JobToken, error) {
	j, ok := is[issuer]
	if !ok {
		return JobToken{}, fmt.Errorf("the issuer %q is not among machines.issuers of the configuration", issuer)
	}
	token, err := j.Provider.verify(ctx, raw, j.Audience)
	if err != nil {
		return JobToken{}, err
	}
	out := JobToken{Issuer: token.Issuer, IssuedAt: token.IssuedAt, Expires: token.Expiry, Claims: map[string]any{}}
	if err := token.Claims(&out.Claims); err != nil {
		return JobToken{}, fmt.Errorf("read the token's claims: %w", err)
	}
	out.ID, _ = out.Claims["jti"].(string)
	return out, nil
}
