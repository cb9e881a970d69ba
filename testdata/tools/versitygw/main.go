// Versitygw for tests: an S3-compatible object store over a directory, with
// versions and Object Lock, on one loopback address. It is the server and the
// file backend of github.com/versity/versitygw as they are; only its other
// backends and its command line, which take minutes to compile, are left out.
//
//	versitygw ADDRESS DIRECTORY   # ROOT_ACCESS_KEY and ROOT_SECRET_KEY are in the environment
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "versitygw:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: versitygw ADDRESS DIRECTORY")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	buckets, versions, sidecar := filepath.Join(args[1], "buckets"), filepath.Join(args[1], "versions"), filepath.Join(args[1], "sidecar")
	for _, dir := range []string{buckets, versions, sidecar} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	// Attributes of objects lie in files: not every file system has xattrs.
	attributes, err := meta.NewSideCar(sidecar)
	if err != nil {
		return err
	}
	files, err := posix.New(buckets, attributes, posix.PosixOpts{VersioningDir: versions, SideCarDir: sidecar, Concurrency: 64})
	if err != nil {
		return err
	}
	root := middlewares.RootUserConfig{Access: os.Getenv("ROOT_ACCESS_KEY"), Secret: os.Getenv("ROOT_SECRET_KEY")}
	iam, err := auth.New(&auth.Opts{RootAccount: auth.Account{Access: root.Access, Secret: root.Secret, Role: auth.RoleAdmin}})
	if err != nil {
		return err
	}
	srv, err := s3api.New(files, root, "us-east-1", iam, nil, nil, nil, nil,
		s3api.WithConcurrencyLimiter(256, 256), s3api.WithMpMaxParts(10_000), s3api.WithQuiet(), s3api.WithHealth("/health"), s3api.WithKeepAlive())
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.ServeMultiPort([]string{args[0]}) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return srv.ShutDown()
	}
}
