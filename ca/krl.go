package ca

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

// revokedFile holds the public keys of retired user CAs, in authorized_keys form.
const revokedFile = "revoked_user_cas"

// revoke notes a retired user CA, durably.
func (a *Authority) revoke(key ssh.PublicKey) error {
	have, err := a.Revoked()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(have, func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), key.Marshal()) }) {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(a.dir, revokedFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("note the retired CA: %w", err)
	}
	_, err = f.Write(ssh.MarshalAuthorizedKey(key))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("note the retired CA: %w", err)
	}
	return nil
}

// Revoked are the user CAs that were retired.
func (a *Authority) Revoked() ([]ssh.PublicKey, error) {
	raw, err := os.ReadFile(filepath.Join(a.dir, revokedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the retired CAs: %w", err)
	}
	var out []ssh.PublicKey
	for len(bytes.TrimSpace(raw)) > 0 {
		key, _, _, rest, err := ssh.ParseAuthorizedKey(raw)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Join(a.dir, revokedFile), err)
		}
		out, raw = append(out, key), rest
	}
	return out, nil
}

// A RevokedCert is a certificate that must not be accepted any more though it
// has not expired.
type RevokedCert struct{ Serial uint64 }

// Parts of OpenSSH's PROTOCOL.krl.
const (
	krlMagic        = 0x5353484b524c0a00 // "SSHKRL\n\0"
	krlFormat       = 1
	krlCertificates = 1    // section
	krlExplicitKey  = 2    // section
	krlSerialList   = 0x20 // of certificates
)

// KRL is a key revocation list for sshd's RevokedKeys (PROTOCOL.krl): the
// retired user CAs, with every certificate that they signed, and serials of
// certificates that the CAs in use signed. sshd refuses all keys when it
// cannot read the list: fetch it to another name, and rename it.
func (a *Authority) KRL(certs []RevokedCert) ([]byte, error) {
	keys, err := a.Revoked()
	if err != nil {
		return nil, err
	}
	now := a.now().Unix()
	b := binary.BigEndian.AppendUint64(nil, krlMagic)
	b = binary.BigEndian.AppendUint32(b, krlFormat)
	b = binary.BigEndian.AppendUint64(b, uint64(now)) // version: grows with each list
	b = binary.BigEndian.AppendUint64(b, uint64(now)) // generated
	b = binary.BigEndian.AppendUint64(b, 0)           // flags
	b = text(b, nil)                                  // reserved
	b = text(b, []byte("jit-gateway "+time.Unix(now, 0).UTC().Format(time.RFC3339)))
	if len(keys) > 0 {
		var section []byte
		for _, k := range keys {
			section = text(section, k.Marshal())
		}
		b = text(append(b, krlExplicitKey), section)
	}
	if len(certs) == 0 {
		return b, nil
	}
	var serials []byte
	sorted := slices.Clone(certs)
	slices.SortFunc(sorted, func(x, y RevokedCert) int {
		if x.Serial < y.Serial {
			return -1
		}
		return 1
	})
	for _, c := range slices.Compact(sorted) {
		serials = binary.BigEndian.AppendUint64(serials, c.Serial)
	}
	for _, ca := range a.UserCAKeys() {
		section := text(nil, ca.Marshal())
		section = text(section, nil) // reserved
		section = text(append(section, krlSerialList), serials)
		b = text(append(b, krlCertificates), section)
	}
	return b, nil
}

// text appends a string of RFC 4251, section 5: its length, then its bytes.
func text(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
