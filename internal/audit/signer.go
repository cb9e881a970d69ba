package audit

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A Signer signs checkpoints. Its name is the log's origin: the first line of
// each checkpoint, so that a signature for one log says nothing of another.
type Signer struct {
	signer   note.Signer
	verifier note.Verifier
}

// GenerateKey makes the log's key pair in the encodings of package note. The
// name is the log's origin, such as "gateway.example.org/audit"; it MUST NOT
// hold spaces or "+". skey is secret; vkey is what auditors keep.
func GenerateKey(name string) (skey, vkey string, err error) {
	if err := checkOrigin(name); err != nil {
		return "", "", err
	}
	skey, vkey, err = note.GenerateKey(rand.Reader, name)
	if err != nil {
		return "", "", fmt.Errorf("make the audit log's key: %w", err)
	}
	return skey, vkey, nil
}

func checkOrigin(name string) error {
	if name == "" || len(name) > 200 || strings.ContainsAny(name, " +\t\r\n") {
		return fmt.Errorf("%q cannot name an audit log: 1 to 200 characters, no spaces, no +", name)
	}
	return nil
}

// NewSigner reads the secret key that GenerateKey made. Its errors do not
// repeat the key.
func NewSigner(skey string) (*Signer, error) {
	skey = strings.TrimSpace(skey)
	s, err := note.NewSigner(skey)
	if err != nil {
		return nil, errors.New("the audit log's signing key is malformed: want PRIVATE+KEY+name+…")
	}
	// The public half is derived rather than stored beside it: there is then
	// no second file that could disagree.
	vkey, err := publicKey(skey, s)
	if err != nil {
		return nil, err
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("derive the audit log's public key: %w", err)
	}
	return &Signer{signer: s, verifier: v}, nil
}

// Origin is the log's name.
func (s *Signer) Origin() string { return s.signer.Name() }

// Sign returns the signed checkpoint of the tree.
func (s *Signer) Sign(t tlog.Tree) (Checkpoint, error) {
	text := FormatCheckpoint(s.Origin(), t)
	b, err := note.Sign(&note.Note{Text: text}, s.signer)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign the checkpoint of %d events: %w", t.N, err)
	}
	return Checkpoint{Size: t.N, Root: t.Hash, Note: string(b)}, nil
}

// SignText signs a text that is no checkpoint, such as the digest of a report.
// Its first line MUST say what it is: no text that could be read as a
// checkpoint of this log is signed.
func (s *Signer) SignText(text string) (signed string, err error) {
	if _, _, err := ParseCheckpoint(text); err == nil || strings.HasPrefix(text, s.Origin()+"\n") {
		return "", errors.New("a checkpoint is signed as one, not as a text")
	}
	b, err := note.Sign(&note.Note{Text: text}, s.signer)
	if err != nil {
		return "", fmt.Errorf("sign a text: %w", err)
	}
	return string(b), nil
}

// OpenText verifies what SignText signed with the log's public key, and
// returns the text.
func OpenText(signed, vkey string) (string, error) {
	v, err := NewVerifier(vkey)
	if err != nil {
		return "", err
	}
	if len(signed) > maxCheckpoint {
		return "", fmt.Errorf("a signed text of %d bytes is too long", len(signed))
	}
	n, err := note.Open([]byte(signed), note.VerifierList(v))
	if err != nil {
		return "", fmt.Errorf("it is not signed by %s: %w", v.Name(), err)
	}
	return n.Text, nil
}

// Open verifies a checkpoint that this signer made.
func (s *Signer) Open(signed string) (Checkpoint, error) { return open(signed, s.verifier) }

// OpenCheckpoint verifies a signed checkpoint with the log's public key.
func OpenCheckpoint(signed, vkey string) (Checkpoint, error) {
	v, err := NewVerifier(vkey)
	if err != nil {
		return Checkpoint{}, err
	}
	return open(signed, v)
}

// NewVerifier reads the public key that GenerateKey made.
func NewVerifier(vkey string) (note.Verifier, error) {
	v, err := note.NewVerifier(strings.TrimSpace(vkey))
	if err != nil {
		return nil, fmt.Errorf("%.100q is not the public key of an audit log (want name+hash+key): %w", vkey, err)
	}
	return v, nil
}

// maxCheckpoint bounds a signed checkpoint: three lines and many witnesses.
const maxCheckpoint = 64 << 10

func open(signed string, v note.Verifier) (Checkpoint, error) {
	if len(signed) > maxCheckpoint {
		return Checkpoint{}, fmt.Errorf("checkpoint of %d bytes is too long", len(signed))
	}
	n, err := note.Open([]byte(signed), note.VerifierList(v))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("the checkpoint is not signed by %s: %w", v.Name(), err)
	}
	origin, t, err := ParseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if origin != v.Name() {
		return Checkpoint{}, fmt.Errorf("the checkpoint is of the log %.200q, not of %s", origin, v.Name())
	}
	return Checkpoint{Size: t.N, Root: t.Hash, Note: signed}, nil
}
