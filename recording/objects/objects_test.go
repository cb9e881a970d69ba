package objects

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"jit-gateway/internal/testenv"
)

const part = 5 << 20 // the least that the protocol allows

func bucket(t testing.TB, s *testenv.ObjectStore, endpoint, lock string) *Bucket {
	t.Helper()
	b, err := New(Options{Endpoint: endpoint, Bucket: "recordings", Prefix: "gw/", AccessKey: s.AccessKey, SecretKey: s.SecretKey, Lock: lock, PartSize: part})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func start(t testing.TB, lock string) (*testenv.ObjectStore, *Bucket) {
	t.Helper()
	s := testenv.NewObjectStore(t)
	b := bucket(t, s, s.Endpoint(), lock)
	if err := b.Check(t.Context()); err == nil {
		t.Error("a bucket that is not there was found")
	}
	if err := b.core.MakeBucket(t.Context(), "recordings", minio.MakeBucketOptions{ObjectLocking: lock != ""}); err != nil {
		t.Fatal(err)
	}
	if err := b.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, b
}

func file(t testing.TB, size int) (*os.File, []byte) {
	t.Helper()
	b := make([]byte, size)
	rand.Read(b)
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, b
}

// versions counts what the store has of a key, and uploads that are open.
func versions(t testing.TB, b *Bucket, key string) (n, open int) {
	t.Helper()
	for o := range b.core.Client.ListObjects(t.Context(), b.o.Bucket, minio.ListObjectsOptions{Prefix: key, WithVersions: true, Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		n++
	}
	l, err := b.core.ListMultipartUploads(t.Context(), b.o.Bucket, key, "", "", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	return n, len(l.Uploads)
}

func TestPutAndRead(t *testing.T) {
	t.Parallel()
	_, b := start(t, "")
	for _, size := range []int{1, blockSize - 1, blockSize, part, part + 1, 2*part + 12345} {
		f, want := file(t, size)
		key := b.Key(fmt.Sprintf("S%d", size))
		for range 2 { // the second finds that it is there
			o, err := b.Put(t.Context(), key, f, int64(size), Lock{})
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			r, err := b.Open(t.Context(), key, o.Version)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes: read %d, %v", size, len(got), err)
			}
			p := make([]byte, 100)
			if n, err := r.ReadAt(p, int64(max(size-50, 0))); err != io.EOF || n != min(size, 50) {
				t.Errorf("%d bytes: at the end: %d, %v", size, n, err)
			}
			if len(r.kept) > keptMax {
				t.Errorf("%d blocks are kept", len(r.kept))
			}
			r.Close()
		}
		if n, open := versions(t, b, key); n != 1 || open != 0 {
			t.Errorf("%d bytes: %d versions and %d open uploads", size, n, open)
		}
		if err := b.Remove(t.Context(), key, ""); err != nil {
			t.Error(err)
		}
		if _, err := b.Open(t.Context(), key, ""); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after it was deleted: %v", err)
		}
		if err := b.Remove(t.Context(), key, ""); err != nil {
			t.Errorf("delete again: %v", err)
		}
	}
}

// What is locked is refused by the store itself, by retention and by a legal
// hold, and so is the shortening of a lock.
func TestG9LockedObjectIsNotDeleted(t *testing.T) {
	t.Parallel()
	_, b := start(t, Compliance)
	f, _ := file(t, 1000)
	locked, err := b.Put(t.Context(), b.Key("S1"), f, 1000, Lock{Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if locked.Version == "" || time.Until(locked.LockedUntil) < 50*time.Minute {
		t.Errorf("locked as %+v", locked)
	}
	var refused *LockedError
	if err := b.Remove(t.Context(), locked.Key, locked.Version); !errors.As(err, &refused) {
		t.Errorf("delete what is locked: %v", err)
	}
	mode, soon := minio.Compliance, time.Now().Add(time.Second)
	if err := b.core.PutObjectRetention(t.Context(), b.o.Bucket, locked.Key, minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &soon, VersionID: locked.Version, GovernanceBypass: true}); err == nil {
		t.Error("the lock was shortened")
	}
	if n, _ := versions(t, b, locked.Key); n != 1 {
		t.Errorf("%d versions", n)
	}

	held, err := b.Put(t.Context(), b.Key("S2"), f, 1000, Lock{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Hold(t.Context(), held.Key, held.Version, true); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(t.Context(), held.Key, held.Version); !errors.As(err, &refused) {
		t.Errorf("delete what is held: %v", err)
	}
	if err := b.Hold(t.Context(), held.Key, held.Version, false); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(t.Context(), held.Key, held.Version); err != nil {
		t.Errorf("delete what is not held any more: %v", err)
	}
	if n, _ := versions(t, b, held.Key); n != 0 {
		t.Errorf("%d versions of what was deleted", n)
	}
	// A bucket that cannot lock is told at once.
	if err := b.core.MakeBucket(t.Context(), "plain", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	b.o.Bucket = "plain"
	if err := b.Check(t.Context()); err == nil {
		t.Error("a bucket without Object Lock will do")
	}
}

// saboteur passes requests on to the store, but for one of them: it is cut
// off before it arrives, or its answer is lost.
type saboteur struct {
	proxy *httputil.ReverseProxy
	crash context.CancelFunc

	mu     sync.Mutex
	n      int
	at     int
	answer bool
	parts  int
	seen   []string // methods
}

func (s *saboteur) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.n++
	s.seen = append(s.seen, r.Method)
	hit := s.n == s.at
	if r.URL.Query().Has("partNumber") && (!hit || s.answer) {
		s.parts++
	}
	s.mu.Unlock()
	if hit && s.answer {
		s.proxy.ServeHTTP(httptest.NewRecorder(), r)
	}
	if hit {
		s.crash()
		panic(http.ErrAbortHandler)
	}
	s.proxy.ServeHTTP(w, r)
}

// A crash before and after every request of an upload: the next attempt goes
// on, and in the end there is one object, whole, and nothing besides.
func TestG9UploadGoesOnAfterACrashAtEveryStep(t *testing.T) {
	t.Parallel()
	store, b := start(t, Governance)
	to, err := url.Parse(store.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1000, part + 1000} {
		f, want := file(t, size)
		lock := Lock{Until: time.Now().Add(time.Hour)}
		// put is one attempt, with a fault at one request; 0 is none.
		put := func(key string, at int, answer bool) (*saboteur, Object, error) {
			ctx, crash := context.WithCancel(t.Context())
			defer crash()
			s := &saboteur{proxy: httputil.NewSingleHostReverseProxy(to), crash: crash, at: at, answer: answer}
			srv := httptest.NewServer(s)
			defer srv.Close()
			o, err := bucket(t, store, srv.URL, Governance).Put(ctx, key, f, int64(size), lock)
			return s, o, err
		}
		clean, _, err := put(b.Key(fmt.Sprintf("S%d", size)), 0, false)
		if err != nil || len(clean.seen) < 5 {
			t.Fatalf("%d requests, %v", len(clean.seen), err)
		}
		for i, method := range clean.seen {
			changes := method == http.MethodPut || method == http.MethodPost
			if i > 0 && method == http.MethodGet && clean.seen[i-1] == http.MethodGet {
				break // it is read back from here on
			}
			for _, answer := range []bool{false, true}[:map[bool]int{false: 1, true: 2}[changes]] {
				key := b.Key(fmt.Sprintf("S%d-%d-%v", size, i+1, answer))
				before, _, err := put(key, i+1, answer)
				if err == nil {
					t.Errorf("%s: it did not notice", key)
				}
				after, o, err := put(key, 0, false)
				if err != nil {
					t.Fatalf("%s: again: %v", key, err)
				}
				r, err := b.Open(t.Context(), key, o.Version)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: other bytes: %v", key, err)
				}
				if n, open := versions(t, b, key); n != 1 || open != 0 {
					t.Errorf("%s: %d versions and %d open uploads", key, n, open)
				}
				if sent := before.parts + after.parts; size > part && sent != 2 {
					t.Errorf("%s: %d parts were sent; there are 2", key, sent)
				}
			}
		}
	}
}

func TestEndpoints(t *testing.T) {
	for s, ok := range map[string]bool{
		"https://s3.example": true, "https://s3.example:9000/": true, "http://127.0.0.1:7070": true, "http://localhost:1": true, "http://[::1]:1": true,
		"http://s3.example": false, "s3.example": false, "https://u:p@s3.example": false, "https://s3.example/path": false, "ftp://x": false, "": false,
	} {
		if _, err := CheckEndpoint(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}
