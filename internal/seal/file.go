package seal

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// LoadKey reads a key file that CreateKey or `openssl rand -base64 32` made:
// 32 bytes in base64. A file that others than its owner can read is refused.
func LoadKey(path string) (*Box, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the sealing key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("look at the sealing key: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("sealing key %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("sealing key %s can be read by others (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return nil, fmt.Errorf("read the sealing key: %w", err)
	}
	return ParseKey(string(text), path)
}

// ParseKey reads the text of a key file, for keys that come as a credential.
// from says where the text came from; errors do not repeat the text.
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
