package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Grant takes a user from nothing to an open window on a target, with stock
// ssh alone: the user asks, the approver approves what they were shown, the
// user activates with a code. It returns the grant's id.
func (s *Stack) Grant(ctx context.Context, user, approver, target, duration, reason string) (string, error) {
	request, err := s.Ask(ctx, user, target, duration, reason)
	if err != nil {
		return "", err
	}
	if err := s.Approve(ctx, approver, request); err != nil {
		return "", err
	}
	return s.Activate(ctx, user, request)
}

// Ask files a request and returns its id.
func (s *Stack) Ask(ctx context.Context, user, target, duration, reason string) (string, error) {
	out, err := s.Run(ctx, user, "", "jit-gateway", "request", target, "--no-wait", "--for", duration, "--reason", quote(reason))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(out), nil
}

// Approve approves requests, all with one code, naming what was shown by its
// digest, as an approver without a terminal must.
func (s *Stack) Approve(ctx context.Context, approver string, requests ...string) error {
	args := append([]string{"jit-gateway", "approve"}, requests...)
	for _, r := range requests {
		digest, err := s.Digest(ctx, approver, r)
		if err != nil {
			return err
		}
		args = append(args, "--digest", digest)
	}
	_, err := s.withCode(ctx, approver, args...)
	return err
}

// withCode runs a command that wants a code. People type codes by hand beside
// us, and each is good once: then the next one is taken.
func (s *Stack) withCode(ctx context.Context, user string, args ...string) (out string, err error) {
	for range 4 {
		code, err := s.Code(user)
		if err != nil {
			return "", err
		}
		if out, err = s.Run(ctx, user, code+"\n", args...); err == nil || !strings.Contains(err.Error(), "used already") {
			return out, err
		}
	}
	return "", fmt.Errorf("%s has no code left that was not used already; try again in a minute", user)
}

// Digest is the SHA-256 of a request as the approver sees it.
func (s *Stack) Digest(ctx context.Context, approver, request string) (string, error) {
	out, err := s.Run(ctx, approver, "", "jit-gateway", "requests", request, "--json")
	if err != nil {
		return "", err
	}
	var shown []struct {
		Digest string `json:"digest"`
	}
	if err := json.Unmarshal([]byte(out), &shown); err != nil || len(shown) != 1 || shown[0].Digest == "" {
		return "", fmt.Errorf("request %s was shown without its digest (%v): %s", request, err, out)
	}
	return shown[0].Digest, nil
}

// Activate opens the window of an approved request and returns the grant's id.
func (s *Stack) Activate(ctx context.Context, user, request string) (string, error) {
	out, err := s.withCode(ctx, user, "jit-gateway", "activate", request, "--json")
	if err != nil {
		return "", err
	}
	var g struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(out), &g); err != nil {
		return "", fmt.Errorf("read what activate printed: %w", err)
	}
	return g.ID, nil
}

// Token is a session token for a database under a live grant.
func (s *Stack) Token(ctx context.Context, user, target string) (string, error) {
	out, err := s.Run(ctx, user, "", "jit-gateway", "token", target)
	return strings.TrimSpace(out), err
}

// quote protects a word from the gateway's command line, which splits as a
// shell does.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
