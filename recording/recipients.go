package recording

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"
)

// ParseIdentities reads an age identity file, or an ssh private key; the
// passphrase is asked for only if the key has one.
func ParseIdentities(text []byte, passphrase func() ([]byte, error)) ([]age.Identity, error) {
	if !bytes.Contains(text, []byte("-----BEGIN")) {
		ids, err := age.ParseIdentities(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("read the identity file: %w", err)
		}
		return ids, nil
	}
	id, err := agessh.ParseIdentity(text)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) && locked.PublicKey != nil && passphrase != nil {
		id, err = agessh.NewEncryptedSSHIdentity(locked.PublicKey, text, passphrase)
	}
	if err != nil {
		return nil, fmt.Errorf("read the ssh private key: %w", err)
	}
	return []age.Identity{id}, nil
}

// AddRecipients lets more people read an encrypted recording. It takes an
// identity of someone who can: the recording's key is wrapped again, behind
// the footer, so that neither a hashed byte nor a sealed one changes.
func AddRecipients(path string, ids []age.Identity, recipients []string) error {
	rs, err := parseRecipients(recipients)
	if err != nil {
		return err
	}
	if len(rs) == 0 {
		return errors.New("no recipient is given")
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open the recording: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open the recording: %w", err)
	}
	r, err := NewReader(f, st.Size())
	if err != nil {
		return fmt.Errorf("open the recording %q: %w", path, err)
	}
	switch {
	case !r.header.Encrypted():
		return errors.New("the recording is not encrypted: everyone who has the file can read it")
	case !r.sealed:
		return errors.New("the recording is not sealed yet; recipients can be added afterwards")
	}
	if err := r.Unlock(ids...); err != nil {
		return err
	}
	secret, ok := r.id.(fmt.Stringer)
	if !ok {
		return errors.New("the recording's key cannot be wrapped again")
	}
	wraps, err := wrap([]byte(secret.String()), rs...)
	if err != nil {
		return fmt.Errorf("wrap the recording's key: %w", err)
	}
	// A new end follows, so that the last bytes of the file still lead to the footer.
	_, end, err := readBlock(f, r.size-int64(headSize+endSize), r.size, r.seed, nil)
	if err != nil {
		return fmt.Errorf("read the recording's end: %w", err)
	}
	b := append(newBlock(blockWraps, wraps, r.seed), end...)
	if _, err := f.WriteAt(b, r.size); err != nil {
		f.Truncate(r.size) //nolint:errcheck // a reader skips half a block too
		return fmt.Errorf("write the wrapped key: %w", err)
	}
	return f.Sync()
}
