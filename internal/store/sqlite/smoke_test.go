package sqlite

import (
	"context"
	"path/filepath"
	"testing"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store/storetest"
)

var _ storetest.Store = (*DB)(nil)

func TestSmoke(t *testing.T) {
	db, err := Open(context.Background(), filepath.Join(t.TempDir(), "gw.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.CreateUser(t.Context(), identity.User{ID: "U1", Name: "alice"}, audit.Event{Type: audit.UserAdded}); err != nil {
		t.Fatal(err)
	}
	u, err := db.UserByName(t.Context(), "alice")
	t.Log(u, err)
	evs, err := db.Events(t.Context(), -1, 10)
	t.Log(evs, err)
	tr, err := db.Tree(t.Context())
	t.Log(tr, err)
}

func BenchmarkAppend(b *testing.B) {
	db, err := Open(context.Background(), filepath.Join(b.TempDir(), "gw.db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			if _, err := db.Append(context.Background(), audit.Event{Type: audit.Heartbeat, Actor: audit.Gateway}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("many", func(b *testing.B) {
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := db.Append(context.Background(), audit.Event{Type: audit.Heartbeat, Actor: audit.Gateway}); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}
