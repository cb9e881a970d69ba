package objects

import (
	"context"
	"crypto/md5" //nolint:gosec // Content-MD5, which stores with Object Lock ask for
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// hashName is the metadata that has the SHA-256 of the whole object.
const hashName = "Jit-Sha256"

// Lock is what the store has to promise of an object.
type Lock struct {
	Until time.Time // zero: no retention
	Hold  bool
}

// Put makes sure that the store has the file under the key, and returns that
// version of it, read back. It can be repeated after any failure: parts that
// are there are not sent again, and neither is a whole object.
func (b *Bucket) Put(ctx context.Context, key string, file io.ReaderAt, size int64, l Lock) (Object, error) {
	sum, err := hash(io.NewSectionReader(file, 0, size))
	if err != nil {
		return Object{}, fmt.Errorf("read what is to be stored as %q: %w", key, err)
	}
	o, err := b.Stat(ctx, key, "")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = b.send(ctx, key, file, size, sum, l)
	case err == nil && (o.Size != size || o.SHA256 != sum || l.Until.After(o.LockedUntil.Add(time.Minute))):
		// Somebody else's bytes, or ours without the lock that they must have.
		err = b.send(ctx, key, file, size, sum, l)
	}
	if err != nil {
		return Object{}, err
	}
	if o, err = b.Stat(ctx, key, ""); err != nil {
		return Object{}, err
	}
	if b.o.Lock != "" && !l.Until.IsZero() && o.LockedUntil.Before(l.Until.Add(-time.Minute)) {
		return Object{}, fmt.Errorf("the object store took %q and did not lock it until %s", key, l.Until.UTC().Format(time.RFC3339))
	}
	return o, b.verify(ctx, o, size, sum)
}

func (b *Bucket) send(ctx context.Context, key string, file io.ReaderAt, size int64, sum string, l Lock) error {
	o := minio.PutObjectOptions{UserMetadata: map[string]string{hashName: sum}, ContentType: "application/vnd.jit-gateway.recording"}
	if b.o.Lock != "" {
		if !l.Until.IsZero() {
			o.Mode, o.RetainUntilDate = minio.Governance, l.Until.UTC()
			if b.o.Lock == Compliance {
				o.Mode = minio.Compliance
			}
		}
		if l.Hold {
			o.LegalHold = minio.LegalHoldEnabled
		}
	}
	if size > b.partSize(size) {
		return b.sendParts(ctx, key, file, size, sum, o)
	}
	digest, err := md5Of(io.NewSectionReader(file, 0, size))
	if err != nil {
		return fmt.Errorf("read what is to be stored as %q: %w", key, err)
	}
	if _, err := b.core.PutObject(ctx, b.o.Bucket, key, io.NewSectionReader(file, 0, size), size, base64.StdEncoding.EncodeToString(digest), sum, o); err != nil {
		return b.fail("store", key, err)
	}
	return nil
}

// maxParts of an upload, by the protocol.
const maxParts = 10_000

// partSize is the configured one, or larger where there would be too many.
func (b *Bucket) partSize(size int64) int64 {
	return max(b.o.PartSize, (size+maxParts-1)/maxParts)
}

// sendParts sends a large file. An upload of the same bytes that was begun
// and not ended is gone on with; others of the key are given up, so that no
// parts are left behind that nobody sees and everybody pays for.
func (b *Bucket) sendParts(ctx context.Context, key string, file io.ReaderAt, size int64, sum string, o minio.PutObjectOptions) error {
	upload, have, err := b.begun(ctx, key, file, size)
	if err != nil {
		return err
	}
	if upload == "" {
		if upload, err = b.core.NewMultipartUpload(ctx, b.o.Bucket, key, o); err != nil {
			return b.fail("begin to store", key, err)
		}
	}
	part := b.partSize(size)
	var parts []minio.CompletePart
	for n, off := 1, int64(0); off < size; n, off = n+1, off+part {
		length := min(part, size-off)
		digest, err := md5Of(io.NewSectionReader(file, off, length))
		if err != nil {
			return fmt.Errorf("read what is to be stored as %q: %w", key, err)
		}
		if etag := have[n]; etag != "" {
			parts = append(parts, minio.CompletePart{PartNumber: n, ETag: etag})
			continue
		}
		partSum, err := hash(io.NewSectionReader(file, off, length))
		if err != nil {
			return fmt.Errorf("read what is to be stored as %q: %w", key, err)
		}
		p, err := b.core.PutObjectPart(ctx, b.o.Bucket, key, upload, n, io.NewSectionReader(file, off, length), length,
			minio.PutObjectPartOptions{Md5Base64: base64.StdEncoding.EncodeToString(digest), Sha256Hex: partSum})
		if err != nil {
			return b.fail(fmt.Sprintf("store part %d of", n), key, err)
		}
		parts = append(parts, minio.CompletePart{PartNumber: n, ETag: p.ETag})
	}
	if _, err := b.core.CompleteMultipartUpload(ctx, b.o.Bucket, key, upload, parts, minio.PutObjectOptions{}); err != nil {
		return b.fail("finish storing", key, err)
	}
	return nil
}

// begun finds the newest upload of the key whose parts are all of this file,
// and gives up the others.
func (b *Bucket) begun(ctx context.Context, key string, file io.ReaderAt, size int64) (upload string, have map[int]string, err error) {
	list, err := b.core.ListMultipartUploads(ctx, b.o.Bucket, key, "", "", "", 100)
	if err != nil {
		return "", nil, b.fail("look for what was begun of", key, err)
	}
	for i := len(list.Uploads) - 1; i >= 0; i-- {
		u := list.Uploads[i]
		if u.Key != key {
			continue
		}
		if upload == "" {
			if parts, ok := b.partsOf(ctx, key, u.UploadID, file, size); ok {
				upload, have = u.UploadID, parts
				continue
			}
		}
		if err := b.core.AbortMultipartUpload(ctx, b.o.Bucket, key, u.UploadID); err != nil && minio.ToErrorResponse(err).Code != "NoSuchUpload" {
			return "", nil, b.fail("give up what was begun of", key, err)
		}
	}
	return upload, have, nil
}

// partsOf returns the parts of an upload, and whether they are the file's: a
// part's tag is its MD5. A store whose tags are something else begins anew.
func (b *Bucket) partsOf(ctx context.Context, key, upload string, file io.ReaderAt, size int64) (map[int]string, bool) {
	part, have := b.partSize(size), map[int]string{}
	for marker := 0; ; {
		list, err := b.core.ListObjectParts(ctx, b.o.Bucket, key, upload, marker, 1000)
		if err != nil {
			return nil, false
		}
		for _, p := range list.ObjectParts {
			off := int64(p.PartNumber-1) * part
			if off < 0 || off >= size || p.Size != min(part, size-off) {
				return nil, false
			}
			digest, err := md5Of(io.NewSectionReader(file, off, p.Size))
			if err != nil || hex.EncodeToString(digest) != strings.Trim(p.ETag, `"`) {
				return nil, false
			}
			have[p.PartNumber] = p.ETag
			marker = p.PartNumber
		}
		if !list.IsTruncated || len(list.ObjectParts) == 0 {
			return have, true
		}
	}
}

// verify reads the object back.
func (b *Bucket) verify(ctx context.Context, o Object, size int64, sum string) error {
	r, err := b.Open(ctx, o.Key, o.Version)
	if err != nil {
		return err
	}
	defer r.Close()
	if r.Size() != size {
		return fmt.Errorf("the object store has %d bytes of %q, %d were sent", r.Size(), o.Key, size)
	}
	got, err := hash(io.NewSectionReader(r, 0, size))
	if err != nil {
		return fmt.Errorf("read %q back from the object store: %w", o.Key, err)
	}
	if got != sum {
		return fmt.Errorf("the object store gives other bytes of %q than were sent", o.Key)
	}
	return nil
}

func hash(r io.Reader) (string, error) {
	h := sha256.New()
	_, err := io.CopyBuffer(h, onlyReader{r}, make([]byte, 256<<10))
	return hex.EncodeToString(h.Sum(nil)), err
}

func md5Of(r io.Reader) ([]byte, error) {
	h := md5.New() //nolint:gosec // see the import
	_, err := io.CopyBuffer(h, onlyReader{r}, make([]byte, 256<<10))
	return h.Sum(nil), err
}

// onlyReader hides WriteTo, so that the buffer is used.
type onlyReader struct{ io.Reader }
