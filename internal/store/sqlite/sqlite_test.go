package sqlite

import (
	"context"
	"path/filepath"
	"testing"

	"jit-gateway/internal/store/storetest"
)

var _ storetest.Store = (*DB)(nil)

// openAt opens the store of a test at the path.
func openAt(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(context.Background(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func openStore(t *testing.T) storetest.Store {
	return openAt(t, filepath.Join(t.TempDir(), "gateway.db"))
}

func TestContract(t *testing.T) { storetest.Run(t, openStore) }

// TestG6RacesHaveOneWinner: two approvers, a code, an invite or a link given
// twice at once: one succeeds.
func TestG6RacesHaveOneWinner(t *testing.T) { storetest.Races(t, openStore) }

// TestG7EveryChangeIsOneEvent: in the same transaction, or not at all.
func TestG7EveryChangeIsOneEvent(t *testing.T) { storetest.EveryChangeIsOneEvent(t, openStore) }
