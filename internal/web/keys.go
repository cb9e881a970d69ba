package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/sshsig"
	"jit-gateway/internal/store"
)

const (
	keyNamespace = "jit-gateway"    // of ssh-keygen -Y sign
	keyTime      = 15 * time.Minute // to sign
	maxKeys      = 20               // of one user
	minRSA       = 2048
)

// checkKey shows what to sign for a key that was pasted. It changes nothing.
func (s *Server) checkKey(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.People.Accounts == nil {
		return errNotFound
	}
	return s.showKey(w, r, v, http.StatusOK, s.o.Now().Add(keyTime).UTC().Truncate(time.Second), "")
}

func (s *Server) showKey(w http.ResponseWriter, r *http.Request, v *viewer, status int, until time.Time, msg string) error {
	key, comment, err := publicKey(r.PostFormValue("key"))
	if err != nil {
		return s.showYou(w, r, v, http.StatusForbidden, map[string]any{"Part": "keys", "Error": sentence(err), "Pasted": r.PostFormValue("key")})
	}
	s.render(w, r, v, status, "key", map[string]any{"Key": keyText(key), "Comment": comment, "Fingerprint": ssh.FingerprintSHA256(key),
		"Until": until.Format(time.RFC3339), "Text": s.keyChallenge(v, key, until), "Namespace": keyNamespace, "Error": msg,
		"Signature": r.PostFormValue("signature")})
	return nil
}

// keyChallenge is what the key signs: where, for whom, until when, and in
// which page session, so that a signature is good nowhere else. It can be made
// again from the form, and so is kept nowhere.
func (s *Server) keyChallenge(v *viewer, key ssh.PublicKey, until time.Time) string {
	sum := sha256.Sum256([]byte("jit-gateway key\x00" + v.page.ID + "\x00" + ssh.FingerprintSHA256(key) + "\x00" + until.Format(time.RFC3339)))
	return fmt.Sprintf("%s: register %s for %s until %s, %s", s.o.Name, ssh.FingerprintSHA256(key), v.Name, until.Format(time.RFC3339), hex.EncodeToString(sum[:16]))
}

// addKey registers a key by a signature of it and a fresh second factor.
func (s *Server) addKey(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.People.Accounts == nil {
		return errNotFound
	}
	until, err := time.Parse(time.RFC3339, r.PostFormValue("until"))
	if err != nil {
		return s.checkKey(w, r, v)
	}
	register := func() error {
		key, comment, err := publicKey(r.PostFormValue("key"))
		if err != nil {
			return err
		}
		if now := s.o.Now(); !now.Before(until) || until.After(now.Add(keyTime+time.Minute)) {
			until = now.Add(keyTime).UTC().Truncate(time.Second)
			return errors.New("that took too long; sign the new text below")
		}
		// printf %s and a pasted file alike: a line break at the end is no difference.
		text, sig := s.keyChallenge(v, key, until), []byte(r.PostFormValue("signature"))
		if err := sshsig.Verify(sig, []byte(text), keyNamespace, key); err != nil {
			if sshsig.Verify(sig, []byte(text+"\n"), keyNamespace, key) != nil {
				return err
			}
		}
		have, err := s.o.Users.Keys(r.Context(), v.ID)
		if err != nil {
			return err
		}
		if len(have) >= maxKeys {
			return fmt.Errorf("you have %d keys already; remove one first", len(have))
		}
		p, err := s.proofOfAct(r, v)
		if err != nil {
			return err
		}
		fp := ssh.FingerprintSHA256(key)
		err = s.o.People.Accounts.AddKey(r.Context(), identity.Key{Fingerprint: fp, UserID: v.ID, Authorized: keyText(key), Comment: comment, CreatedAt: s.o.Now().UTC()},
			audit.Event{Type: audit.KeyAdded, Outcome: audit.Success, Actor: v.actor(), User: v.ID,
				Detail: map[string]string{"fingerprint": fp, "by": "signature", "factor": string(p.Kind()), "factor_id": p.FactorID(), "evidence": p.Evidence()}})
		if errors.Is(err, store.ErrExists) {
			return errors.New("that key is registered already, for you or for somebody else")
		}
		return err
	}
	if err := register(); err != nil {
		return s.showKey(w, r, v, http.StatusForbidden, until, sentence(err))
	}
	http.Redirect(w, r, "/you#keys", http.StatusSeeOther)
	return nil
}

// removeKey takes a key away; its connections end, and the browsers that came
// in through it.
func (s *Server) removeKey(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.People.Accounts == nil {
		return errNotFound
	}
	return s.onYou(w, r, v, "keys", func() error {
		p, err := s.proofOfAct(r, v)
		if err != nil {
			return err
		}
		fp := r.PostFormValue("fingerprint")
		return s.o.People.Accounts.RemoveKey(r.Context(), v.ID, fp, audit.Event{Type: audit.KeyRemoved, Outcome: audit.Success, Actor: v.actor(), User: v.ID,
			Detail: map[string]string{"fingerprint": display.Line(fp, 80), "factor": string(p.Kind()), "factor_id": p.FactorID()}})
	})
}

// publicKey reads a key as it stands in id_ed25519.pub.
func publicKey(pasted string) (ssh.PublicKey, string, error) {
	if strings.Contains(pasted, "PRIVATE KEY") {
		return nil, "", errors.New("that is a private key: keep it to yourself, and paste the file that ends in .pub. If it left your machine, make a new one")
	}
	key, comment, options, rest, err := ssh.ParseAuthorizedKey([]byte(strings.TrimSpace(pasted)))
	switch {
	case err != nil:
		return nil, "", errors.New("that is not a public key as in id_ed25519.pub")
	case len(options) > 0:
		return nil, "", errors.New("options before the key are not accepted: paste the key alone")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, "", errors.New("paste one key at a time")
	}
	switch k := key.(type) {
	case *ssh.Certificate:
		return nil, "", errors.New("that is a certificate; paste the plain public key")
	case ssh.CryptoPublicKey:
		if rsa, ok := k.CryptoPublicKey().(interface{ Size() int }); ok && rsa.Size()*8 < minRSA {
			return nil, "", fmt.Errorf("that RSA key is too short; make a new one with ssh-keygen -t ed25519")
		}
	}
	if t := key.Type(); t == "ssh-dss" {
		return nil, "", errors.New("DSA keys are not accepted; make a new one with ssh-keygen -t ed25519")
	}
	return key, display.Line(comment, 64), nil
}

func keyText(k ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))) }
