package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"jit-gateway/internal/inventory"
)

// Reader reads sources. Its fields are set once.
type Reader struct {
	// YAML decodes a list of targets, or fields with a list under "targets";
	// it does not check them. Errors name file, line and field.
	YAML   func(name string, raw []byte) ([]inventory.Target, error)
	Secret func(ref string) (string, error)
	Trust  *Truster // may be nil
}

const fetchTimeout = 30 * time.Second

// Read reads a source whole: its entries, completed and checked, by name.
func (r Reader) Read(ctx context.Context, s Source) ([]inventory.Target, error) {
	list, err := r.entries(ctx, s)
	if err != nil {
		return nil, err
	}
	for i := range list {
		t := &list[i]
		if err := limit(*t, s); err != nil {
			return nil, fmt.Errorf("%q: %w", t.Name, err)
		}
		fill(t, s.Defaults)
		r.Trust.Fill(t)
		t.Source = s.Name
	}
	if err := check(list); err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b inventory.Target) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (r Reader) entries(ctx context.Context, s Source) ([]inventory.Target, error) {
	switch s.Kind {
	case Files:
		return r.files(s)
	case Ansible, CSV:
		raw, err := readFile(s.Path)
		if err != nil {
			return nil, err
		}
		list, err := r.Parse(s.Kind, s.Path, raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Path, err)
		}
		return list, nil
	case HTTPS:
		raw, err := r.fetch(ctx, s)
		if err != nil {
			return nil, err
		}
		return r.YAML(s.URL, raw) // JSON is YAML
	}
	return nil, fmt.Errorf("a source of kind %q cannot be read", s.Kind)
}

// Parse reads entries of a kind from bytes, as they are.
func (r Reader) Parse(kind, name string, raw []byte) ([]inventory.Target, error) {
	switch kind {
	case Ansible:
		return parseAnsible(raw)
	case CSV:
		return parseCSV(raw)
	}
	return r.YAML(name, raw)
}

func (r Reader) files(s Source) ([]inventory.Target, error) {
	names, err := filepath.Glob(s.Path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	if len(names) == 0 { // a directory that is not mounted looks like this too
		if _, err := os.Stat(filepath.Dir(s.Path)); err != nil {
			return nil, err
		}
	}
	var out []inventory.Target
	for _, n := range names {
		raw, err := readFile(n)
		if err != nil {
			return nil, err
		}
		list, err := r.YAML(n, raw)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path)
}

func readAll(in io.Reader, what string) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(in, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if len(raw) > maxSize {
		return nil, fmt.Errorf("%s: more than %d bytes", what, maxSize)
	}
	return raw, nil
}

// fetch gets the list over https. Redirects are not followed, since the token
// would go with them.
func (r Reader) fetch(ctx context.Context, s Source) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if s.Token != "" {
		token, err := r.Secret(s.Token)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CAFile != "" {
		pem, err := readFile(s.CAFile)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", s.CAFile)
		}
	}
	transport := &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", s.URL, resp.Status)
	}
	raw, err := readAll(resp.Body, s.URL)
	if err == nil && len(raw) == 0 {
		err = errors.New("the answer is empty")
	}
	return raw, err
}
