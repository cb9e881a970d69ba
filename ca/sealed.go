package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/scrypt"

	"jit-gateway/internal/seal"
)

// Key files can be sealed under a passphrase, which is kept elsewhere: as a
// systemd credential, or wherever a reference can point. Each file is then one
// PEM block of type "SEALED …": AES-256-GCM with the file's name as associated
// data, under a key that scrypt makes of the passphrase and the salt beside.
const (
	sealedPrefix = "SEALED "
	saltFile     = "passphrase.salt"
	saltBlock    = "SCRYPT SALT"
	kekSaltSize  = 16
	minPass      = 12 // characters
	scryptN      = 1 << 15
	scryptR      = 8
	scryptP      = 1
)

// openKEK makes the key of sealed files; nil without a passphrase.
func openKEK(dir, passphrase string) (*seal.Box, error) {
	if passphrase == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(filepath.Join(dir, saltFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nothing is sealed yet
	}
	if err != nil {
		return nil, fmt.Errorf("read the salt of the key files: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != saltBlock || len(block.Bytes) != kekSaltSize {
		return nil, fmt.Errorf("read %s: no %s block in it", filepath.Join(dir, saltFile), saltBlock)
	}
	return kek(passphrase, block.Bytes)
}

func kek(passphrase string, salt []byte) (*seal.Box, error) {
	key, err := scrypt.Key([]byte(passphrase), salt, scryptN, scryptR, scryptP, seal.KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive the key of the key files: %w", err)
	}
	return seal.New(key)
}

func (a *Authority) open(name string, sealed []byte) ([]byte, error) {
	if a.kek == nil {
		return nil, fmt.Errorf("%s is sealed: ca_passphrase in the configuration says where the passphrase is", filepath.Join(a.dir, name))
	}
	plain, err := a.kek.Open(sealed, sealName(name))
	if err != nil {
		return nil, fmt.Errorf("open %s: the passphrase is another one, or the file was changed", filepath.Join(a.dir, name))
	}
	return plain, nil
}

// sealName is the associated data of a file: the same for all generations of
// a key, which are renamed.
func sealName(name string) string {
	for _, f := range secretFiles {
		if name == f || name == generation(f, next) || name == generation(f, previous) {
			return "jit-gateway ca " + f
		}
	}
	return "jit-gateway ca " + name
}

// secretFiles are those with private keys.
var secretFiles = []string{rootFile, userCAFile, hostCAFile, outerEd25519File, outerECDSAFile, clientKeyFile, pageKeyFile}

// writeKey makes a new key file, sealed if the others are.
func (a *Authority) writeKey(name string, key crypto.Signer) error {
	if a.kek == nil {
		return writeKey(a.dir, name, key)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return writeBlock(a.dir, name, sealedPrefix+keyBlock, a.kek.Seal(der, sealName(name)), 0o600)
}

// Encrypt seals the key files of dir under a passphrase, or under another one
// if old opens them. Every file is replaced in one rename; an interrupted
// Encrypt is run again with the same passphrases.
func Encrypt(dir, old, passphrase string) (n int, err error) {
	if len(passphrase) < minPass {
		return 0, fmt.Errorf("the passphrase has %d characters; it needs %d at least", len(passphrase), minPass)
	}
	a := &Authority{dir: dir}
	if a.kek, err = openKEK(dir, old); err != nil {
		return 0, err
	}
	box, err := newKEK(dir, passphrase, a.kek != nil)
	if err != nil {
		return 0, err
	}
	done := &Authority{dir: dir, kek: box}
	for _, f := range secretFiles {
		for _, name := range []string{f, generation(f, next), generation(f, previous)} {
			kind := keyBlock
			if f == rootFile {
				kind = secretBlock
			}
			if !a.there(name) {
				continue
			}
			plain, err := a.readBlock(name, kind, true)
			if err != nil {
				if _, again := done.readBlock(name, kind, true); again == nil {
					continue // an Encrypt that was interrupted came this far
				}
				return n, err
			}
			if err := replace(dir, name, sealedPrefix+kind, box.Seal(plain, sealName(name))); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, syncDir(dir)
}

// newKEK makes the salt unless there is one: it stays when the passphrase
// changes, so that an interrupted change can be finished.
func newKEK(dir, passphrase string, sealed bool) (*seal.Box, error) {
	if !sealed {
		salt := make([]byte, kekSaltSize)
		rand.Read(salt)
		if err := writeBlock(dir, saltFile, saltBlock, salt, 0o600); err != nil && !errors.Is(err, errHolds) {
			return nil, err
		}
	}
	return openKEK(dir, passphrase)
}

func replace(dir, name, kind string, b []byte) error {
	tmp := "." + name + ".new"
	if err := os.Remove(filepath.Join(dir, tmp)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeBlock(dir, tmp, kind, b, 0o600); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, tmp), filepath.Join(dir, name))
}
