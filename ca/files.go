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
	k := &keys{}
	var err error
	if k.root, err = readBlock(dir, rootFile, secretBlock, true); err != nil {
		return nil, err
	}
	if len(k.root) != rootSize {
		return nil, fmt.Errorf("read %s: want %d bytes, got %d", rootFile, rootSize, len(k.root))
	}
	for name, into := range map[string]*ed25519.PrivateKey{userCAFile: &k.userCA, hostCAFile: &k.hostCA, outerEd25519File: &k.outerEd25519} {
		if err := readKey(dir, name, into); err != nil {
			return nil, err
		}
	}
	for name, into := range map[string]**ecdsa.PrivateKey{outerECDSAFile: &k.outerECDSA, clientKeyFile: &k.client, pageKeyFile: &k.page} {
		if err := readKey(dir, name, into); err != nil {
			return nil, err
		}
	}
	if k.clientCert, err = readCert(dir, clientCertFile, k.client); err != nil {
		return nil, err
	}
	if k.pageCert, err = readCert(dir, pageCertFile, k.page); err != nil {
		return nil, err
	}
	return newAuthority(k, o)
}

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
		return fmt.Errorf("%s holds keys already (%s)", dir, name)
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

func readBlock(dir, name, kind string, secret bool) ([]byte, error) {
	path := filepath.Join(dir, name)
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
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("read %s: no %s block in it", path, kind)
	}
	return block.Bytes, nil
}

func readKey[K crypto.PrivateKey](dir, name string, into *K) error {
	der, err := readBlock(dir, name, keyBlock, true)
	if err != nil {
		return err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	k, ok := key.(K)
	if !ok {
		return fmt.Errorf("read %s: it holds a %T, want a %T", name, key, *into)
	}
	*into = k
	return nil
}

func readCert(dir, name string, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := readBlock(dir, name, certBlock, false)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
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
