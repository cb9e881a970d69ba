package seal

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ParseKey reads the text of a key that CreateKey or `openssl rand -base64 32`
// made: 32 bytes in base64. from says where the text came from; errors do not
// repeat the text.
func ParseKey(text, from string) (*Box, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != KeySize {
		return nil, fmt.Errorf("sealing key %s is not %d bytes in base64", from, KeySize)
	}
	return New(key)
}

// CreateKey makes a key and writes it durably to a new file with mode 0600.
// An existing file is never touched: losing a key loses what it sealed.
func CreateKey(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("sealing key %s exists already: %w", path, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("create the sealing key: %w", err)
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(GenerateKey()) + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the sealing key: %w", err), os.Remove(path))
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
