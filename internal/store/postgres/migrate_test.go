package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// TestTheReleaseBeforeMayOpen: during a rolling upgrade a gateway of the
// release before may start again on tables that a later one has brought up to
// date, if that one wrote down that it can live with them; nobody older.
func TestTheReleaseBeforeMayOpen(t *testing.T) {
	dsn := newDatabase(t)
	db := openAt(t, dsn, Options{})
	name := db.conf.Database
	db.Close()
	was, err := server.Value(t.Context(), name, "SELECT obj_description('goose_db_version'::regclass)")
	if err != nil || was != fmt.Sprint(floorIs, floor) {
		t.Fatalf("the tables say %q, %v", was, err)
	}
	server.MustExec(t, name, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, true)")
	for comment, opens := range map[string]bool{was: true, floorIs + "52": false, "": false} {
		server.MustExec(t, name, "COMMENT ON TABLE goose_db_version IS '"+comment+"'")
		db, err := Open(context.Background(), dsn, Options{ClockTolerance: -1})
		if opens && err != nil || !opens && (err == nil || !strings.Contains(err.Error(), "a newer version wrote it")) {
			t.Errorf("tables that say %q: %v", comment, err)
		}
		if err == nil {
			db.Close()
		}
	}
}
