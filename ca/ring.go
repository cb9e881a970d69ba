package ca

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// The CAs that can be replaced.
const (
	UserCA   = "user"   // signs user certificates; hosts list it in TrustedUserCAKeys
	HostCA   = "host"   // signs the names that users see; they list it as @cert-authority
	ClientCA = "client" // signs client certificates; databases list it in ssl_ca_file
	PageCA   = "page"   // signs the page's and the database port's certificate
)

// A ring is the CAs of a moment. Each is there in up to three generations: the
// current one signs; the next one is published, so that everybody can learn to
// trust it before it signs; the previous one is still published and accepted,
// until it is retired. So no host, user or database has to change at the same
// moment as the gateway.
type ring struct {
	user, host   generations[ssh.Signer]
	client, page generations[*issuer]
}

type generations[T comparable] struct{ current, next, previous T }

// all are the generations that there are; the first signs.
func (g generations[T]) all() []T {
	var none T
	out := []T{g.current}
	for _, x := range []T{g.next, g.previous} {
		if x != none {
			out = append(out, x)
		}
	}
	return out
}

const (
	next     = "next"
	previous = "previous"
)

// generation is the file of another generation: user_ca.next.key.
func generation(name, which string) string {
	ext := filepath.Ext(name)
	return strings.TrimSuffix(name, ext) + "." + which + ext
}

// Reload reads all generations again: another gateway that shares the key
// directory, or whoever distributes it, may have changed them.
func (a *Authority) Reload() error {
	r := &ring{}
	for _, g := range []struct {
		file string
		into *generations[ssh.Signer]
	}{{userCAFile, &r.user}, {hostCAFile, &r.host}} {
		if err := read(g.into, g.file, a.sshSigner, func(x, y ssh.Signer) bool {
			return string(x.PublicKey().Marshal()) == string(y.PublicKey().Marshal())
		}); err != nil {
			return err
		}
	}
	for _, g := range []struct {
		key, cert string
		into      *generations[*issuer]
	}{{clientKeyFile, clientCertFile, &r.client}, {pageKeyFile, pageCertFile, &r.page}} {
		if err := a.finish(g.key, g.cert); err != nil {
			return err
		}
		load := func(name string) (*issuer, error) {
			key, err := a.readKey(name)
			if err != nil {
				return nil, err
			}
			cert, err := a.readCert(strings.TrimSuffix(name, ".key")+".crt", key)
			return &issuer{cert, key}, err
		}
		if err := read(g.into, g.key, load, func(x, y *issuer) bool { return x.cert.Equal(y.cert) }); err != nil {
			return err
		}
	}
	a.cas.Store(r)
	return nil
}

func read[T comparable](g *generations[T], file string, load func(string) (T, error), same func(T, T) bool) (err error) {
	if g.current, err = load(file); err != nil {
		return err
	}
	for which, into := range map[string]*T{next: &g.next, previous: &g.previous} {
		v, err := load(generation(file, which))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case !same(v, g.current): // a crash in Activate leaves the current one there twice
			*into = v
		}
	}
	return nil
}

// finish does the second half of an Activate that was interrupted: its
// certificate is in place already, its key is still called the next one.
func (a *Authority) finish(key, cert string) error {
	if !a.there(generation(key, next)) || a.there(generation(cert, next)) {
		return nil
	}
	err := os.Rename(filepath.Join(a.dir, generation(key, next)), filepath.Join(a.dir, key))
	if errors.Is(err, fs.ErrNotExist) { // another gateway on the same directory was faster
		return nil
	}
	return err
}

// files of a CA, the key first.
func files(which string) ([]string, error) {
	switch which {
	case UserCA:
		return []string{userCAFile}, nil
	case HostCA:
		return []string{hostCAFile}, nil
	case ClientCA:
		return []string{clientKeyFile, clientCertFile}, nil
	case PageCA:
		return []string{pageKeyFile, pageCertFile}, nil
	}
	return nil, fmt.Errorf("there is no CA %q: user, host, client, page", which)
}

func (a *Authority) there(name string) bool {
	_, err := os.Stat(filepath.Join(a.dir, name))
	return err == nil
}

// signedByUs reports whether a key is a user CA that is not retired.
func (a *Authority) signedByUs(key ssh.PublicKey) bool {
	for _, k := range a.UserCAKeys() {
		if string(k.Marshal()) == string(key.Marshal()) {
			return true
		}
	}
	return false
}
