// Command goclients connects as Go programs do, with pgx or with lib/pq. All
// it needs to know is in the PG… variables.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/lib/pq"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	run := map[string]func(context.Context) error{"pgx": usePGX, "pq": usePQ}[os.Args[1]]
	if err := run(ctx); err != nil {
		log.Fatalf("%s: %v", os.Args[1], err)
	}
	fmt.Println("ok:", os.Args[1])
}

func usePGX(ctx context.Context) error {
	c, err := pgx.Connect(ctx, "")
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	var n int
	if err := c.QueryRow(ctx, "select count(*) from orders where customer = $1", 1).Scan(&n); err != nil || n != 2 {
		return fmt.Errorf("query: %d, %v", n, err)
	}
	batch := &pgx.Batch{}
	for i := range 200 {
		batch.Queue("select $1::int", i)
	}
	if err := c.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	if _, err := c.Exec(ctx, "create temp table t (a int, b text)"); err != nil {
		return err
	}
	rows := make([][]any, 5000)
	for i := range rows {
		rows[i] = []any{i, "x"}
	}
	copied, err := c.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"a", "b"}, pgx.CopyFromRows(rows))
	if err != nil || copied != 5000 {
		return fmt.Errorf("COPY: %d, %v", copied, err)
	}
	var pgErr *pgconn.PgError
	if _, err := c.Exec(ctx, "select 1/0"); !errors.As(err, &pgErr) || pgErr.Code != "22012" {
		return fmt.Errorf("error of the server: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := c.Exec(short, "select pg_sleep(20)"); err == nil {
		return errors.New("a statement outlived its context")
	}
	return nil
}

func usePQ(ctx context.Context) error {
	db, err := sql.Open("postgres", "sslmode=verify-full")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(4)
	var n int
	if err := db.QueryRowContext(ctx, "select count(*) from orders where customer = $1", 1).Scan(&n); err != nil || n != 2 {
		return fmt.Errorf("query: %d, %v", n, err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.Exec("create temp table t (a int, b text)"); err != nil {
		return err
	}
	s, err := tx.Prepare(pq.CopyIn("t", "a", "b"))
	if err != nil {
		return err
	}
	for i := range 5000 {
		if _, err := s.Exec(i, "x"); err != nil {
			return err
		}
	}
	if _, err := s.Exec(); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	if err := tx.QueryRow("select count(*) from t").Scan(&n); err != nil || n != 5000 {
		return fmt.Errorf("COPY: %d, %v", n, err)
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	var pqErr *pq.Error
	if _, err := db.ExecContext(ctx, "select 1/0"); !errors.As(err, &pqErr) || pqErr.Code != "22012" {
		return fmt.Errorf("error of the server: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := db.ExecContext(short, "select pg_sleep(20)"); err == nil {
		return errors.New("a statement outlived its context")
	}
	return nil
}
