package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// Limits of what Read takes from a file.
const (
	maxFiles    = 1_000_000
	maxManifest = 256 << 20
)

// Read extracts a backup into a directory that is empty or not there yet. All
// of it is checked against the manifest before anything is where it belongs;
// after an error the directory is as it was.
func Read(r io.Reader, dir string, ids ...age.Identity) (m Manifest, err error) {
	if err := emptyDir(dir); err != nil {
		return m, err
	}
	tmp, err := os.MkdirTemp(dir, ".restore-")
	if err != nil {
		return m, fmt.Errorf("restore: %w", err)
	}
	defer func() {
		if rerr := os.RemoveAll(tmp); err == nil {
			err = rerr
		}
	}()
	if m, err = extract(r, tmp, ids); err != nil {
		return m, fmt.Errorf("this is not a whole backup, and nothing was restored: %w", err)
	}
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return m, err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(tmp, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return m, fmt.Errorf("restore: %w", err)
		}
	}
	return m, syncDir(dir)
}

// emptyDir makes the directory, or makes sure that nothing is in it.
func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look into the data directory: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty (%s is in it): a backup is restored into an empty directory", dir, entries[0].Name())
	}
	return os.Chmod(dir, 0o700)
}

func extract(r io.Reader, dir string, ids []age.Identity) (m Manifest, err error) {
	b := bufio.NewReader(r)
	r = b
	if head, _ := b.Peek(len(ageMagic)); bytes.Equal(head, []byte(ageMagic)) {
		if len(ids) == 0 {
			return m, errors.New("it is encrypted: name the identity file with --identity")
		}
		if r, err = age.Decrypt(b, ids...); err != nil {
			return m, err
		}
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return m, err
	}
	defer z.Close()
	t, found := tar.NewReader(z), map[string]File{}
	for {
		h, err := t.Next()
		if err == io.EOF {
			return m, errors.New("it ends before its manifest")
		}
		if err != nil {
			return m, err
		}
		if h.Name == manifestName {
			if err := readManifest(t, h.Size, &m); err != nil {
				return m, err
			}
			// Whatever follows is no part of it, and the end must be whole.
			if _, err := t.Next(); err != io.EOF {
				return m, fmt.Errorf("something follows the manifest: %w", err)
			}
			if _, err := io.Copy(io.Discard, z); err != nil {
				return m, err
			}
			return m, agree(m, found)
		}
		f, err := one(t, h, dir)
		if err != nil {
			return m, err
		}
		if found[f.Name] = f; len(found) > maxFiles {
			return m, fmt.Errorf("it has more than %d files", maxFiles)
		}
	}
}

const ageMagic = "age-encryption.org/"

// one writes a file below dir. Only the names that Write makes are good.
func one(t *tar.Reader, h *tar.Header, dir string) (File, error) {
	f := File{Name: h.Name, Size: h.Size}
	local := filepath.IsLocal(filepath.FromSlash(f.Name)) && path.Clean(f.Name) == f.Name
	if known := f.Name == StoreName || f.Name == ConfigName || strings.HasPrefix(f.Name, keysDir) || strings.HasPrefix(f.Name, recordingDir); h.Typeflag != tar.TypeReg || !local || !known {
		return f, fmt.Errorf("%q does not belong into a backup", f.Name)
	}
	to := filepath.Join(dir, filepath.FromSlash(f.Name))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return f, err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return f, err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), t)
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return f, errors.Join(err, out.Sync(), out.Close())
}

func readManifest(r io.Reader, size int64, m *Manifest) error {
	if size > maxManifest {
		return fmt.Errorf("its manifest has %d bytes", size)
	}
	b, err := io.ReadAll(io.LimitReader(r, maxManifest))
	if err != nil {
		return fmt.Errorf("read the manifest: %w", err)
	}
	if err := json.Unmarshal(b, m); err != nil {
		return fmt.Errorf("read the manifest: %w", err)
	}
	if m.Version != Version {
		return fmt.Errorf("it has version %d; this program reads version %d", m.Version, Version)
	}
	return nil
}

// agree compares what was found with the manifest, both ways.
func agree(m Manifest, found map[string]File) error {
	for _, want := range m.Files {
		got, ok := found[want.Name]
		if !ok {
			return fmt.Errorf("%q is missing", want.Name)
		}
		if got != want {
			return fmt.Errorf("%q is not as the manifest has it", want.Name)
		}
		delete(found, want.Name)
	}
	for name := range found {
		return fmt.Errorf("%q is not in the manifest", name)
	}
	for _, need := range []string{StoreName, ConfigName} {
		has := false
		for _, f := range m.Files {
			has = has || f.Name == need
		}
		if !has {
			return fmt.Errorf("%q is missing", need)
		}
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	return nil
}
