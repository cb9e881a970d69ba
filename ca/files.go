package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/crypto/ssh"
)

// Files of the key directory. Secret ones hold one PEM block each, mode 0600.
const (
	rootFile         = "root.secret"
	userCAFile       = "user_ca.key"
	hostCAFile       = "host_ca.key"
	outerEd25519File = "host_ed25519.key"
	outerECDSAFile   = "host_ecdsa.key"
	clientKeyFile    = "client_ca.key"
	clientCertFile   = "client_ca.crt"
	pageKeyFile      = "page_ca.key"
	pageCertFile     = "page_ca.crt"
)

const (
	secretBlock = "JIT-GATEWAY ROOT SECRET"
	keyBlock    = "PRIVATE KEY"
	certBlock   = "CERTIFICATE"
	rootSize    = 32
	maxKeyFile  = 64 << 10
	caLifetime  = 10 * 365 * 24 * time.Hour
)

// Init makes all keys in dir, which must not hold any of them yet: a second
// Init would silently cut off every host that trusts the first.
func Init(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the key directory: %w", err)
	}
	root := make([]byte, rootSize)
	rand.Read(root)
	if err := writeBlock(dir, rootFile, secretBlock, root, 0o600); err != nil {
		return err
	}
	for _, name := range []string{userCAFile, hostCAFile, outerEd25519File} {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return fmt.Errorf("make %s: %w", name, err)
		}
		if err := writeKey(dir, name, key); err != nil {
			return err
		}
	}
	for _, f := range []struct{ key, cert, name string }{
		{outerECDSAFile, "", ""},
		{clientKeyFile, clientCertFile, "jit-gateway database client CA"},
		{pageKeyFile, pageCertFile, "jit-gateway page CA"},
	} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return fmt.Errorf("make %s: %w", f.key, err)
		}
		if err := writeKey(dir, f.key, key); err != nil {
			return err
		}
		if f.cert == "" {
			continue
		}
		der, err := selfSigned(key, f.name, time.Now())
		if err != nil {
			return fmt.Errorf("make %s: %w", f.cert, err)
		}
		if err := writeBlock(dir, f.cert, certBlock, der, 0o644); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// Load reads the keys that Init made. A key file that others than its owner
// may read is refused.
func Load(dir string, o Options) (*Authority, error) {
	a := &Authority{now: o.Now, dir: dir}
	if a.now == nil {
		a.now = time.Now
	}
	var err error
	if a.kek, err = openKEK(dir, o.Passphrase); err != nil {
		return nil, err
	}
	if a.root, err = a.readBlock(rootFile, secretBlock, true); err != nil {
		return nil, err
	}
	if len(a.root) != rootSize {
		return nil, fmt.Errorf("read %s: want %d bytes, got %d", rootFile, rootSize, len(a.root))
	}
	if a.hostKeys, err = lru.New[string, []ssh.Signer](hostKeyCache); err != nil {
		return nil, err
	}
	for _, name := range []string{outerEd25519File, outerECDSAFile} {
		s, err := a.sshSigner(name)
		if err != nil {
			return nil, err
		}
		a.outer = append(a.outer, s)
	}
	return a, a.Reload()
}

// sshSigner reads a key that signs for SSH.
func (a *Authority) sshSigner(name string) (ssh.Signer, error) {
	key, err := a.readKey(name)
	if err != nil {
		return nil, err
	}
	s, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		return nil, fmt.Errorf("use %s: %w", name, err)
	}
	want := ssh.KeyAlgoED25519
	if name == outerECDSAFile {
		want = ssh.KeyAlgoECDSA256
	}
	if got := s.PublicKey().Type(); got != want {
		return nil, fmt.Errorf("read %s: it holds a key of type %s, want %s", name, got, want)
	}
	return s, nil
}

var errHolds = errors.New("holds keys already")

func writeKey(dir, name string, key crypto.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return writeBlock(dir, name, keyBlock, der, 0o600)
}

// writeBlock makes a new file, durable before it returns.
func writeBlock(dir, name, kind string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s %w (%s)", dir, errHolds, name)
	}
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	defer f.Close()
	if _, err := f.Write(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Close()
}

// readBlock reads one block of a key file; a sealed one is opened.
func (a *Authority) readBlock(name, kind string, secret bool) ([]byte, error) {
	path := filepath.Join(a.dir, name)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if mode := fi.Mode(); secret && (!mode.IsRegular() || mode.Perm()&0o077 != 0) {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): make it 0600, and think about who may have read it", path, mode.Perm())
	}
	if fi.Size() > maxKeyFile {
		return nil, fmt.Errorf("read %s: %d bytes is too long for a key", path, fi.Size())
	}
	b := make([]byte, fi.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	block, _ := pem.Decode(b)
	if block != nil && block.Type == sealedPrefix+kind {
		return a.open(name, block.Bytes)
	}
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("read %s: no %s block in it", path, kind)
	}
	return block.Bytes, nil
}

func (a *Authority) readKey(name string) (crypto.Signer, error) {
	der, err := a.readBlock(name, keyBlock, true)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	switch k := key.(type) {
	case ed25519.PrivateKey:
		return k, nil
	case *ecdsa.PrivateKey:
		return k, nil
	}
	return nil, fmt.Errorf("read %s: it holds a %T, want Ed25519 or ECDSA", name, key)
}

func (a *Authority) readCert(name string, key crypto.Signer) (*x509.Certificate, error) {
	der, err := a.readBlock(name, certBlock, false)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok || !pub.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("read %s: it does not belong to the key beside it", name)
	}
	return cert, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync key directory: %w", err)
	}
	defer d.Close()
	return d.Sync()
}
