// Package objects keeps recordings in a bucket of an S3-compatible store.
//
// Put sends a file once: small ones in one request, large ones in parts that
// are gone on with after a crash. The store compares the SHA-256 of every
// request's body (it is signed), and the whole object is read back and hashed
// before Put says that it is there. Objects can be locked by Object Lock until
// a date, and by a legal hold. Reading is by ranges, a few at a time in
// memory, so that a recording of any size is opened, sought in and verified
// where it lies.
//
// The package refuses: to follow the store anywhere by plain http but to
// loopback, a bucket without Object Lock when locks are wanted, and to call
// an object there that it has not read back.
//
// Start at Put in put.go.
package objects

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Lock modes of Object Lock.
const (
	Governance = "governance" // whoever has s3:BypassGovernanceRetention can delete earlier
	Compliance = "compliance" // nobody can
)

// Options of New. Endpoint, Bucket and the keys are required.
type Options struct {
	Endpoint  string // https://host[:port]; http:// to loopback alone
	Bucket    string
	Prefix    string // of every key
	Region    string // us-east-1 if empty
	AccessKey string
	SecretKey string
	Roots     *x509.CertPool // who may sign the store's certificate; system roots if nil
	Lock      string         // Governance, Compliance, or empty: no Object Lock
	PartSize  int64          // of large objects; 16 MiB if zero
	Timeout   time.Duration  // until a request's answer begins; 1 min if zero
}

// Bucket is where recordings go. It is safe for concurrent use.
type Bucket struct {
	core *minio.Core
	o    Options
}

const defaultPart = 16 << 20

// New makes a Bucket; nothing is sent yet.
func New(o Options) (*Bucket, error) {
	u, err := CheckEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	switch {
	case o.Bucket == "", o.AccessKey == "", o.SecretKey == "":
		return nil, errors.New("an object store needs a bucket, an access key and a secret key")
	case o.Lock != "" && o.Lock != Governance && o.Lock != Compliance:
		return nil, fmt.Errorf("object lock mode %q: say %q or %q", o.Lock, Governance, Compliance)
	}
	if o.PartSize == 0 {
		o.PartSize = defaultPart
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.Region == "" {
		o.Region = "us-east-1" // asking the store would be one more thing that can fail
	}
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots},
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: o.Timeout, IdleConnTimeout: time.Minute,
		MaxIdleConnsPerHost: 4, DisableCompression: true, ForceAttemptHTTP2: true,
	}
	core, err := minio.NewCore(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(o.AccessKey, o.SecretKey, ""), Secure: u.Scheme == "https", Transport: t,
		Region: o.Region, BucketLookup: minio.BucketLookupAuto, MaxRetries: 3, // whoever calls tries again, for longer
	})
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", o.Endpoint, err)
	}
	return &Bucket{core: core, o: o}, nil
}

// CheckEndpoint reads the address of a store. Recordings and keys do not go
// over plain http to another host.
func CheckEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, fmt.Errorf("%q is not the address of an object store: write https://host or https://host:port", s)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%q: recordings do not go over plain http to another host", s)
	}
	return u, nil
}

// Name says which bucket it is, for logs and events.
func (b *Bucket) Name() string { return b.o.Bucket }

// Key is the key of a session's recording.
func (b *Bucket) Key(session string) string { return b.o.Prefix + session + ".jitrec" }

// Check reports whether the bucket is there, and locks if it has to.
func (b *Bucket) Check(ctx context.Context) error {
	ok, err := b.core.BucketExists(ctx, b.o.Bucket)
	switch {
	case err != nil:
		return b.fail("reach", "", err)
	case !ok:
		return fmt.Errorf("object store %s has no bucket %q", b.o.Endpoint, b.o.Bucket)
	case b.o.Lock == "":
		return nil
	}
	enabled, _, _, _, err := b.core.GetObjectLockConfig(ctx, b.o.Bucket)
	if code := minio.ToErrorResponse(err).Code; code == "ObjectLockConfigurationNotFoundError" || err == nil && enabled != "Enabled" {
		return fmt.Errorf("bucket %q has no Object Lock: it must have been made with it, or configure no object_lock", b.o.Bucket)
	}
	if err != nil {
		return b.fail("read the lock configuration of", "", err)
	}
	return nil
}

// An Object is one version of a key.
type Object struct {
	Key         string
	Version     string
	Size        int64
	SHA256      string // as Put noted it; the bytes are only known to have it after they were read
	LockedUntil time.Time
}

// LockedError says that the store refuses to delete, because it promised.
type LockedError struct {
	Key string
	Err error
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("the object store keeps %q under Object Lock: %v", e.Key, e.Err)
}

// Unwrap returns the store's answer.
func (e *LockedError) Unwrap() error { return e.Err }

// fail words an error of the store; fs.ErrNotExist is matched by callers.
func (b *Bucket) fail(what, key string, err error) error {
	r := minio.ToErrorResponse(err)
	if r.Code == minio.NoSuchKey || r.Code == "NoSuchVersion" || r.StatusCode == http.StatusNotFound && r.Code != minio.NoSuchBucket {
		err = fmt.Errorf("%w (%s)", fs.ErrNotExist, r.Code)
	}
	return fmt.Errorf("%s %q in the object store: %w", what, strings.TrimPrefix(b.o.Bucket+"/"+key, "/"), err)
}

// Stat asks for the newest version, or the named one.
func (b *Bucket) Stat(ctx context.Context, key, version string) (Object, error) {
	info, err := b.core.StatObject(ctx, b.o.Bucket, key, minio.StatObjectOptions{VersionID: version})
	if err != nil {
		return Object{}, b.fail("look at", key, err)
	}
	o := Object{Key: key, Version: info.VersionID, Size: info.Size, SHA256: info.UserMetadata[hashName]}
	if until, err := time.Parse(time.RFC3339, info.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date")); err == nil {
		o.LockedUntil = until
	}
	return o, nil
}

// Hold sets or removes the object's legal hold.
func (b *Bucket) Hold(ctx context.Context, key, version string, on bool) error {
	status := minio.LegalHoldDisabled
	if on {
		status = minio.LegalHoldEnabled
	}
	if err := b.core.PutObjectLegalHold(ctx, b.o.Bucket, key, minio.PutObjectLegalHoldOptions{Status: &status, VersionID: version}); err != nil {
		return b.fail("set the legal hold of", key, err)
	}
	return nil
}

// Locks reports whether objects are under Object Lock, and so can be held.
func (b *Bucket) Locks() bool { return b.o.Lock != "" }

// Remove deletes that version for good; one that is gone already is no error.
// A *LockedError says that the store keeps it.
func (b *Bucket) Remove(ctx context.Context, key, version string) error {
	err := b.core.RemoveObject(ctx, b.o.Bucket, key, minio.RemoveObjectOptions{VersionID: version})
	switch r := minio.ToErrorResponse(err); {
	case err == nil:
		return b.gone(ctx, key, version)
	case r.Code == "AccessDenied", r.Code == "ObjectLocked", r.Code == "InvalidRequest" && strings.Contains(strings.ToLower(r.Message), "lock"):
		return &LockedError{key, err}
	}
	if err := b.fail("delete", key, err); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// gone makes sure: a store may answer a deletion with success and keep it.
func (b *Bucket) gone(ctx context.Context, key, version string) error {
	_, err := b.Stat(ctx, key, version)
	if err == nil {
		return fmt.Errorf("the object store still has %q after it said that it was deleted", key)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
