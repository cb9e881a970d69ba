package testenv

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// ObjectStore is a running versitygw: S3-compatible, with versions and Object
// Lock.
type ObjectStore struct {
	Dir, Address, AccessKey, SecretKey string
	proc                               *Process
}

// Endpoint is its URL.
func (o *ObjectStore) Endpoint() string { return "http://" + o.Address }

// NewObjectStore starts one for the test.
func NewObjectStore(t testing.TB) *ObjectStore {
	t.Helper()
	o, err := StartObjectStore(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Stop(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// StartObjectStore starts one on the directory, which keeps what it stores.
func StartObjectStore(ctx context.Context, dir string) (*ObjectStore, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	o := &ObjectStore{Dir: dir, Address: fmt.Sprintf("127.0.0.1:%d", port), AccessKey: "jit-test", SecretKey: "not-a-secret-at-all"}
	return o, o.Start(ctx)
}

// Start starts it again after Stop, on the same address.
func (o *ObjectStore) Start(ctx context.Context) error {
	program, err := versitygw(ctx)
	if err != nil {
		return err
	}
	o.proc, err = Command{Name: "versitygw", Args: []string{program, o.Address, o.Dir}, Log: filepath.Join(o.Dir, "log"),
		Env: []string{"ROOT_ACCESS_KEY=" + o.AccessKey, "ROOT_SECRET_KEY=" + o.SecretKey}}.Start()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		select {
		case <-o.proc.Done():
			log, _ := os.ReadFile(o.proc.Log)
			return fmt.Errorf("versitygw ended: %w\n%s", o.proc.Err(), log)
		default:
		}
		resp, err := http.Get(o.Endpoint() + "/health")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("versitygw does not answer on %s", o.Address)
}

// MakeBucket makes a bucket, with Object Lock or without.
func (o *ObjectStore) MakeBucket(ctx context.Context, name string, lock bool) error {
	c, err := minio.New(o.Address, &minio.Options{Creds: credentials.NewStaticV4(o.AccessKey, o.SecretKey, ""), Region: "us-east-1"})
	if err != nil {
		return err
	}
	return c.MakeBucket(ctx, name, minio.MakeBucketOptions{ObjectLocking: lock})
}

// Stop ends it in the middle of whatever it does; what it has acknowledged
// stays. Asked politely it would wait for connections that clients keep.
func (o *ObjectStore) Stop() error { return o.proc.Stop(syscall.SIGKILL) }

// versitygw is the program, built if need be.
func versitygw(ctx context.Context) (string, error) {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return "", fmt.Errorf("the source of the tests is not here")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(here), "..", "..", "testdata", "tools", "versitygw.sh"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build versitygw: %w\n%s", err, errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}
