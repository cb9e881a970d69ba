package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// ErrStep is the refusal of a step of a rotation that is not next.
var ErrStep = errors.New("this is not the next step")

func step(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrStep, fmt.Sprintf(format, args...))
}

// Rotate makes the next key of a CA and publishes it. It signs nothing until
// Activate: first everybody must have learned to trust it.
func (a *Authority) Rotate(which string) error {
	a.turn.Lock()
	defer a.turn.Unlock()
	names, err := files(which)
	if err != nil {
		return err
	}
	switch {
	case a.there(generation(names[0], next)):
		return step("the next %s CA is there already: activate it, or retire it", which)
	case a.there(generation(names[0], previous)):
		return step("the previous %s CA is still accepted: retire it first", which)
	}
	for _, n := range names[1:] { // of a Rotate or Retire that was interrupted
		for _, g := range []string{next, previous} {
			if err := os.Remove(filepath.Join(a.dir, generation(n, g))); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("make the next %s CA: %w", which, err)
			}
		}
	}
	var key crypto.Signer
	if len(names) == 1 {
		_, key, err = ed25519.GenerateKey(nil)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return fmt.Errorf("make the next %s CA: %w", which, err)
	}
	if len(names) > 1 { // the certificate first: a key alone would stop the next start
		der, err := selfSigned(key, "jit-gateway "+map[string]string{ClientCA: "database client", PageCA: "page"}[which]+" CA "+a.now().UTC().Format("2006-01-02"), a.now())
		if err != nil {
			return fmt.Errorf("make the next %s CA: %w", which, err)
		}
		if err := writeBlock(a.dir, generation(names[1], next), certBlock, der, 0o644); err != nil {
			return err
		}
	}
	if err := a.writeKey(generation(names[0], next), key); err != nil {
		return err
	}
	if err := syncDir(a.dir); err != nil {
		return err
	}
	return a.Reload()
}

// Activate lets the next key of a CA sign. The one that did stays accepted
// until Retire. A crash in between leaves the old one signing.
func (a *Authority) Activate(which string) error {
	a.turn.Lock()
	defer a.turn.Unlock()
	names, err := files(which)
	if err != nil {
		return err
	}
	if !a.there(generation(names[0], next)) {
		return step("no next %s CA is there: rotate first", which)
	}
	if a.there(generation(names[0], previous)) && !a.again(names) {
		return step("the previous %s CA is still accepted: retire it first", which)
	}
	// Certificates before keys: a next key without its certificate then means
	// that this was interrupted, and Reload finishes it.
	for i := len(names) - 1; i >= 0; i-- {
		if err := a.link(names[i], generation(names[i], previous)); err != nil {
			return err
		}
	}
	for i := len(names) - 1; i >= 0; i-- {
		from, to := filepath.Join(a.dir, generation(names[i], next)), filepath.Join(a.dir, names[i])
		if err := os.Rename(from, to); err != nil {
			return fmt.Errorf("activate the next %s CA: %w", which, err)
		}
	}
	if err := syncDir(a.dir); err != nil {
		return err
	}
	return a.Reload()
}

// again reports whether an Activate was interrupted: what is there as the
// previous generation is the current one.
func (a *Authority) again(names []string) bool {
	for _, n := range names {
		x, errX := os.ReadFile(filepath.Join(a.dir, n))
		y, errY := os.ReadFile(filepath.Join(a.dir, generation(n, previous)))
		if errX != nil || errY != nil || !bytes.Equal(x, y) {
			return false
		}
	}
	return true
}

func (a *Authority) link(from, to string) error {
	err := os.Link(filepath.Join(a.dir, from), filepath.Join(a.dir, to))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// Retire ends a CA that signs no more: the previous generation, or a next one
// that was never activated. Its private key is deleted; that of a user CA goes
// onto the list of Revoked, for hosts that list it still. It returns what it
// ended as text.
func (a *Authority) Retire(which string) (string, error) {
	a.turn.Lock()
	defer a.turn.Unlock()
	names, err := files(which)
	if err != nil {
		return "", err
	}
	state := previous
	if !a.there(generation(names[0], previous)) {
		state = next
	}
	if !a.there(generation(names[0], state)) {
		return "", step("there is no other %s CA than the one that signs", which)
	}
	what := state + " " + which + " CA"
	if len(names) == 1 {
		s, err := a.sshSigner(generation(names[0], state))
		if err != nil {
			return "", err
		}
		if which == UserCA {
			if err := a.revoke(s.PublicKey()); err != nil {
				return "", err
			}
		}
		what += " " + ssh.FingerprintSHA256(s.PublicKey())
	}
	for _, n := range names { // the key first
		if err := os.Remove(filepath.Join(a.dir, generation(n, state))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("retire the %s: %w", what, err)
		}
	}
	if err := syncDir(a.dir); err != nil {
		return "", err
	}
	return what, a.Reload()
}
