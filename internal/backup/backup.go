// Package backup writes a running gateway into one file, and reads it back.
//
// The file is a tar stream, compressed with zstd and, where recipients are
// given, encrypted with age: a consistent copy of the store, the keys but for
// the sealing key, the configuration, and the recordings if they are wanted.
// The last entry is a manifest with the size and SHA-256 of every other, so
// that a file which was cut off, or changed, is refused whole. Without the
// sealing key, which is kept elsewhere, the second factors in it open for
// nobody; the certificate authorities' keys are in it in clear.
//
// Reading refuses: names that lead out of the directory, anything but plain
// files, what the manifest does not name or names otherwise. compare.go tells
// what a copy of the audit log that was kept outside has more.
//
// Start reading at Write.
package backup

import (
	"archive/tar"
	"context"
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
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"jit-gateway/internal/audit"
	"jit-gateway/recording"
)

// Version of the file's layout.
const Version = 1

// Names in the file, and below a restored data directory.
const (
	StoreName    = "jit-gateway.db"
	ConfigName   = "jit-gateway.yaml"
	keysDir      = "keys/"
	recordingDir = "recordings/"
	manifestName = "manifest.json"
)

// Manifest is the last entry.
type Manifest struct {
	Version    int       `json:"version"`
	Gateway    string    `json:"gateway"`
	Program    string    `json:"program"` // version of the program that wrote it
	Made       time.Time `json:"made"`
	Events     int64     `json:"events"`     // of the audit log, under Checkpoint
	Checkpoint string    `json:"checkpoint"` // signed
	Recordings bool      `json:"recordings"`
	SealKey    string    `json:"seal_key"` // where the sealing key was; it is not in the file
	Files      []File    `json:"files"`
}

// File is one entry.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Options of Write. All but Recordings and Recipients are required.
type Options struct {
	Gateway, Program string
	Snapshot         func(ctx context.Context, to string) error // a consistent copy of the store
	Sign             func(ctx context.Context) (audit.Checkpoint, error)
	Keys             string          // directory
	SealKey          string          // its reference in the configuration
	Config           string          // file
	Recordings       *recording.Dir  // nil: they are not wanted
	Temp             string          // a private directory with room for the store
	Recipients       []age.Recipient // none: not encrypted
	Now              func() time.Time
}

// Write writes a backup. An error means that what was written is no backup;
// whoever reads it finds out by the missing manifest.
func Write(ctx context.Context, w io.Writer, o Options) (Manifest, error) {
	m := Manifest{Version: Version, Gateway: o.Gateway, Program: o.Program, Made: o.Now().UTC(), Recordings: o.Recordings != nil, SealKey: o.SealKey}
	dir, err := os.MkdirTemp(o.Temp, ".backup-") // 0700
	if err != nil {
		return m, fmt.Errorf("make room for the copy of the store: %w", err)
	}
	defer os.RemoveAll(dir)
	point, err := o.Sign(ctx)
	if err != nil {
		return m, fmt.Errorf("sign the audit log for the backup: %w", err)
	}
	m.Events, m.Checkpoint = point.Size, point.Note
	snapshot := filepath.Join(dir, StoreName)
	if err := o.Snapshot(ctx, snapshot); err != nil {
		return m, fmt.Errorf("copy the store: %w", err)
	}
	files, err := keyFiles(o.Keys, o.SealKey)
	if err != nil {
		return m, err
	}
	files = append([]source{{StoreName, snapshot}, {ConfigName, o.Config}}, files...)

	sealed := io.WriteCloser(nopCloser{w})
	if len(o.Recipients) > 0 {
		if sealed, err = age.Encrypt(w, o.Recipients...); err != nil {
			return m, fmt.Errorf("encrypt the backup: %w", err)
		}
	}
	z, err := zstd.NewWriter(sealed, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return m, err
	}
	t := &writer{tar: tar.NewWriter(z), m: &m}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return m, context.Cause(ctx)
		}
		if err := t.file(f); err != nil {
			return m, err
		}
	}
	if o.Recordings != nil {
		if err := t.recordings(ctx, o.Recordings); err != nil {
			return m, err
		}
	}
	if err := t.manifest(); err != nil {
		return m, err
	}
	if err := errors.Join(t.tar.Close(), z.Close(), sealed.Close()); err != nil {
		return m, fmt.Errorf("end the backup: %w", err)
	}
	return m, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// source is a file on the disk and its name in the backup.
type source struct{ name, path string }

// keyFiles lists the directory of keys without the sealing key, whatever it is
// called there.
func keyFiles(dir, sealRef string) ([]source, error) {
	sealPath, isFile := strings.CutPrefix(sealRef, "file:")
	sealed, err := os.Stat(sealPath)
	if isFile && err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("find the sealing key, so that it stays out: %w", err)
	}
	var out []source
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		in, err := d.Info()
		if err != nil {
			return err
		}
		if d.Name() == "seal.key" || isFile && sealed != nil && os.SameFile(in, sealed) {
			return nil
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		out = append(out, source{keysDir + filepath.ToSlash(rel), p})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the keys: %w", err)
	}
	return out, nil
}

type writer struct {
	tar *tar.Writer
	m   *Manifest
}

func (t *writer) file(s source) error {
	f, err := os.Open(s.path)
	if err != nil {
		return fmt.Errorf("back up %s: %w", s.name, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("back up %s: %w", s.name, err)
	}
	return t.add(s.name, st.Size(), f)
}

func (t *writer) add(name string, size int64, r io.Reader) error {
	if err := t.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: t.m.Made, Format: tar.FormatPAX}); err != nil {
		return fmt.Errorf("back up %s: %w", name, err)
	}
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(t.tar, h), r, size); err != nil {
		return fmt.Errorf("back up %s: %w", name, err)
	}
	t.m.Files = append(t.m.Files, File{name, size, hex.EncodeToString(h.Sum(nil))})
	return nil
}

// recordings adds the sealed ones; those in an object store stay there.
func (t *writer) recordings(ctx context.Context, d *recording.Dir) error {
	list, err := d.LocalFiles()
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b recording.LocalFile) int { return strings.Compare(a.Session, b.Session) })
	for _, f := range list {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		b, err := d.Bytes(f.Session)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		err = t.add(recordingDir+path.Base(f.Session)+".jitrec", b.Size(), io.NewSectionReader(b, 0, b.Size()))
		if err := errors.Join(err, b.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (t *writer) manifest() error {
	b, err := json.MarshalIndent(t.m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the manifest: %w", err)
	}
	if err := t.tar.WriteHeader(&tar.Header{Name: manifestName, Mode: 0o600, Size: int64(len(b)), ModTime: t.m.Made, Format: tar.FormatPAX}); err != nil {
		return fmt.Errorf("back up the manifest: %w", err)
	}
	_, err = t.tar.Write(b)
	return err
}
