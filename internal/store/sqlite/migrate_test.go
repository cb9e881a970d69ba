package sqlite

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheReleaseBeforeMayOpen: a store that a later program brought up to date
// says who can live with that: the release before it may open it, nobody older.
func TestTheReleaseBeforeMayOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.db")
	openAt(t, path).Close()
	raw, err := connect(t.Context(), path, "FULL", 1, false)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, 1)"); err != nil {
		t.Fatal(err)
	}
	for least, opens := range map[string]bool{"51": true, "52": false, "0": false} {
		if _, err := raw.Exec("PRAGMA user_version = " + least); err != nil {
			t.Fatal(err)
		}
		db, err := Open(context.Background(), path, Options{})
		if opens && err != nil || !opens && (err == nil || !strings.Contains(err.Error(), "a newer version wrote it")) {
			t.Errorf("tables for programs from version %s on: %v", least, err)
		}
		if err == nil {
			db.Close()
		}
	}
}

// TestFloor: a new file of tables says that the program knows it.
func TestFloor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.db")
	db := openAt(t, path)
	var least int64
	if err := db.read.QueryRow("PRAGMA user_version").Scan(&least); err != nil || least != floor["main"] || least == 0 {
		t.Errorf("the tables are for programs from version %d on, want %d: %v", least, floor["main"], err)
	}
}
