package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/store"
)

// A fresh second factor for one act: a code typed into the act's own form, or
// a passkey that signed the SHA-256 of what the act is about. Scripts ask
// beginPasskey for what to sign; the answer comes back as two fields of the
// same form, so that the act itself is one and the same handler.

var errNoCode = errors.New("a fresh code of your second factor is needed for this")

// proof verifies the second factor that a form carries. digest is what a
// passkey must have signed; the assertion is kept as evidence by whoever gets
// the Proof.
func (s *Server) proof(r *http.Request, v *viewer, digest string) (mfa.Proof, error) {
	code, dialogue := strings.TrimSpace(r.PostFormValue("code")), r.PostFormValue("dialogue")
	switch {
	case dialogue != "" && s.o.People.Passkeys != nil:
		p, err := s.o.People.Passkeys.FinishAssertion(r.Context(), v.ID, dialogue, []byte(r.PostFormValue("assertion")), v.actor())
		if err == nil && p.Digest() != digest {
			return mfa.Proof{}, errors.New("the passkey was used for something else; use it for this")
		}
		return p, err
	case code == "":
		return mfa.Proof{}, errNoCode
	}
	return s.o.MFA.VerifyCode(r.Context(), v.ID, code, v.actor())
}

// proofOfAct is proof for an act that is about nothing but its own address,
// such as a change of one's keys.
func (s *Server) proofOfAct(r *http.Request, v *viewer) (mfa.Proof, error) {
	return s.proof(r, v, actDigest(v, r.URL.Path))
}

// actDigest is what a passkey signs for such an act.
func actDigest(v *viewer, path string) string {
	sum := sha256.Sum256([]byte("jit-gateway act\x00" + v.ID + "\x00" + path))
	return hex.EncodeToString(sum[:])
}

// digestOf is what a passkey signs for the act whose form goes to path: the
// request that is answered, the grant that is used, else the act itself.
func (s *Server) digestOf(r *http.Request, v *viewer, path string) (string, error) {
	part := strings.Split(path, "/") // "", kind, id, act
	if len(part) != 4 {
		return actDigest(v, path), nil
	}
	switch part[1] {
	case "requests":
		req, err := s.o.Approvals.Request(r.Context(), v.caller(), part[2])
		return req.Digest(), err
	case "grants":
		return s.grantDigest(r, v, part[2])
	case "sessions":
		row, err := s.o.Rows.Session(r.Context(), part[2])
		if err != nil || !s.maySee(r, v, row) {
			return "", errors.Join(errNotFound, err)
		}
		return s.grantDigest(r, v, row.GrantID)
	}
	return actDigest(v, path), nil
}

func (s *Server) grantDigest(r *http.Request, v *viewer, id string) (string, error) {
	g, err := s.o.Approvals.Grant(r.Context(), v.caller(), id)
	return g.Hash, err
}

// beginPasskey starts a dialogue with the viewer's passkey for one act.
func (s *Server) beginPasskey(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.People.Passkeys == nil {
		return errNotFound
	}
	if !s.limits.user.allow(v.ID) {
		return tell(w, http.StatusTooManyRequests, nil, "", errTooMany)
	}
	digest, err := s.digestOf(r, v, r.PostFormValue("for"))
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, errNotFound) {
		return tell(w, http.StatusNotFound, nil, "", errors.New("there is nothing here to approve"))
	} else if err != nil {
		return err
	}
	options, dialogue, err := s.o.People.Passkeys.BeginAssertion(r.Context(), v.ID, digest)
	return tell(w, http.StatusForbidden, options, dialogue, err)
}

// hasPasskey reports whether the viewer could use one here.
func (s *Server) hasPasskey(v *viewer) bool {
	if v == nil || s.o.People.Passkeys == nil {
		return false
	}
	factors, err := s.o.MFA.Factors(context.Background(), v.ID)
	return err == nil && slices.ContainsFunc(factors, func(f mfa.Factor) bool { return f.Kind == mfa.Passkey })
}

// passkeyOnly reports whether a rule takes nothing but a passkey.
func passkeyOnly(kinds []string) bool {
	return len(kinds) == 1 && kinds[0] == string(mfa.Passkey)
}

// tell answers a script: the browser's half of a passkey dialogue, or with
// the status why there is none.
func tell(w http.ResponseWriter, status int, options json.RawMessage, dialogue string, err error) error {
	w.Header().Set("Content-Type", "application/json")
	answer := struct {
		Options  json.RawMessage `json:"options,omitempty"`
		Dialogue string          `json:"dialogue,omitempty"`
		Error    string          `json:"error,omitempty"`
	}{options, dialogue, ""}
	if err != nil {
		answer.Error = sentence(err)
		w.WriteHeader(status)
	}
	return json.NewEncoder(w).Encode(answer)
}
