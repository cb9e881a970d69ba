package stories

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"jit-gateway/internal/testenv"
	"jit-gateway/internal/testenv/stack"
)

// startObjects starts an object store with a bucket, and returns what the
// gateway's configuration says of it. The mode is of Object Lock, or "none".
func (t *tale) startObjects(ts *testscript.TestScript, mode string) (func(*stack.Stack) (string, error), error) {
	dir := ts.MkAbs("objects")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	store, err := testenv.StartObjectStore(t.ctx, dir)
	if err != nil {
		return nil, err
	}
	t.objects = store
	if err := store.MakeBucket(t.ctx, "recordings", mode != "none"); err != nil {
		return nil, err
	}
	lock := ""
	if mode != "none" {
		lock = fmt.Sprintf("    object_lock: {mode: %s, days: 1}\n", mode)
	}
	return func(s *stack.Stack) (string, error) {
		for name, secret := range map[string]string{"access": store.AccessKey, "secret": store.SecretKey} {
			if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(secret), 0o600); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("recording:\n  s3:\n    endpoint: %s\n    bucket: recordings\n    prefix: gw/\n    access_key: file:%s/access\n    secret_key: file:%s/secret\n%s",
			store.Endpoint(), s.Dir, s.Dir, lock), nil
	}, nil
}

// objects stops the object store, or starts it again.
func objects(_ *testscript.TestScript, t *tale, args []string) error {
	switch {
	case t.objects == nil || len(args) != 1:
		return errors.New("usage: objects stop|start, after stack -objects MODE")
	case args[0] == "stop":
		return t.objects.Stop()
	case args[0] == "start":
		return t.objects.Start(t.ctx)
	}
	return fmt.Errorf("stop or start, not %q", args[0])
}
