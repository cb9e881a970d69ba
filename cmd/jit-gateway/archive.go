package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"jit-gateway/internal/archive"
	"jit-gateway/internal/config"
	"jit-gateway/recording"
	"jit-gateway/recording/objects"
)

// archive makes what keeps recordings after they are sealed, and its job.
func (g *gateway) archive(recordings *recording.Dir) error {
	o := archive.Options{Store: g.db, Recordings: recordings, Rules: g.rules.Load, Now: now, Logger: g.log, Metrics: archive.NewMetrics(g.registry)}
	if left, err := filepath.Glob(filepath.Join(g.conf.DataDir, ".backup-*")); err == nil {
		for _, dir := range left { // of a backup that ended with the machine
			os.RemoveAll(dir) //nolint:errcheck // it is only in the way
		}
	}
	if g.shared != nil {
		o.Node = machine(g.conf)
	}
	if s := g.conf.Recording.S3; s != nil {
		bucket, err := openBucket(s)
		if err != nil {
			return err
		}
		o.Bucket, o.Spool, o.Cache, o.LockDays = bucket, int64(s.Spool), int64(s.Cache), s.ObjectLock.Days
		// A store that is away now is what the spool is for; one that cannot
		// lock is a mistake that somebody should see.
		g.job("object store", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if err := bucket.Check(ctx); err != nil && !errors.Is(err, context.Canceled) {
				g.log.Error("the object store for recordings is not as configured", "error", err)
			}
			return nil
		})
	}
	var err error
	if g.keeper, err = archive.New(o); err != nil {
		return err
	}
	g.job("archive", g.keeper.Run)
	return nil
}

func openBucket(s *config.S3) (*objects.Bucket, error) {
	access, err := config.Secret(s.AccessKey)
	if err != nil {
		return nil, err
	}
	secret, err := config.Secret(s.SecretKey)
	if err != nil {
		return nil, err
	}
	o := objects.Options{Endpoint: s.Endpoint, Bucket: s.Bucket, Prefix: s.Prefix, Region: s.Region, AccessKey: access, SecretKey: secret, Lock: s.ObjectLock.Mode}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("recording.s3: read ca_file: %w", err)
		}
		if o.Roots = x509.NewCertPool(); !o.Roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("recording.s3: %s holds no certificate", s.CAFile)
		}
	}
	return objects.New(o)
}
