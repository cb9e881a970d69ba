package stories

import (
	databasesql "database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	_ "github.com/mattn/go-sqlite3" // to change the store behind the gateway's back
	"github.com/rogpeppe/go-internal/testscript"
)

// sql asks PostgreSQL itself, until the answer is as wanted.
func sql(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: sql WANT QUERY")
	}
	var got string
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got, err = t.stack.Database().Value(t.ctx, "orders", args[1]); err == nil && got == args[0] {
			return nil
		}
	}
	return fmt.Errorf("%s: got %q, %v, want %q", args[1], got, err, args[0])
}

// flip turns one bit in the middle of the one file that fits.
func flip(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: flip GLOB")
	}
	files, err := filepath.Glob(args[0])
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return fmt.Errorf("%q fits %d files, want one: %v", args[0], len(files), files)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return fmt.Errorf("%s is empty", files[0])
	}
	b[len(b)/2] ^= 0x20
	return os.WriteFile(files[0], b, 0o600)
}

// sqlite runs one statement in a SQLite file, which must change something.
func sqlite(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: sqlite FILE STATEMENT")
	}
	db, err := databasesql.Open("sqlite3", "file:"+args[0]+"?mode=rw&_busy_timeout=5000")
	if err != nil {
		return err
	}
	defer db.Close()
	// Triggers keep the audit log from shrinking by mistake; whoever owns the
	// file drops them first.
	rows, err := db.Query("SELECT name FROM sqlite_master WHERE type = 'trigger'")
	if err != nil {
		return err
	}
	var triggers []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		triggers = append(triggers, name)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, name := range triggers {
		if _, err := db.Exec("DROP TRIGGER " + name); err != nil {
			return err
		}
	}
	res, err := db.Exec(args[1])
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return fmt.Errorf("%s changed nothing (%v)", args[1], err)
	}
	return nil
}

// retry runs a program until it succeeds; negated, until it fails.
func retry(ts *testscript.TestScript, neg bool, args []string) {
	var err error
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		err = ts.Exec(args[0], args[1:]...)
		if (err == nil) != neg {
			return
		}
		if time.Now().After(deadline) {
			fail(ts, "retry %v: still %v", args, err)
		}
	}
}
