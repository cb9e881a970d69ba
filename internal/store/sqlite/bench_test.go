package sqlite

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"jit-gateway/internal/audit"
)

// BenchmarkAppend measures one durable change: alone, and when many arrive at
// once and share commits.
func BenchmarkAppend(b *testing.B) {
	e := audit.Event{Type: audit.SessionChannel, Outcome: audit.Success, Actor: audit.Gateway, User: "U1", Grant: "G1", Session: "S1"}
	b.Run("alone", func(b *testing.B) {
		db := openAt(b, filepath.Join(b.TempDir(), "gateway.db"))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := db.Append(context.Background(), e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("64 at once", func(b *testing.B) {
		db := openAt(b, filepath.Join(b.TempDir(), "gateway.db"))
		b.ReportAllocs()
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := db.Append(context.Background(), e); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkVerify measures reading and hashing the log.
func BenchmarkVerify(b *testing.B) {
	db := openAt(b, filepath.Join(b.TempDir(), "gateway.db"))
	skey, vkey, err := audit.GenerateKey("bench")
	if err != nil {
		b.Fatal(err)
	}
	signer, err := audit.NewSigner(skey)
	if err != nil {
		b.Fatal(err)
	}
	for range 100 {
		evs := make([]audit.Event, 100)
		for i := range evs {
			evs[i] = audit.Event{Type: audit.SessionChannel, User: "U1", Grant: "G1", Session: "S1"}
		}
		if _, err := db.AppendAll(context.Background(), evs); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := (&audit.Checkpointer{Log: db, Source: db, Signer: signer, Now: time.Now}).Sign(context.Background()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := audit.Verify(context.Background(), db, vkey, audit.VerifyOptions{})
		if err != nil || !r.Intact() {
			b.Fatal(r, err)
		}
	}
	b.ReportMetric(float64(b.N)*10000/b.Elapsed().Seconds(), "events/s")
}
