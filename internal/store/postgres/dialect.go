package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"jit-gateway/internal/store"
)

// bind writes $1, $2, … for each "?". sqlstore's queries have none in strings.
func bind(query string) string {
	var b strings.Builder
	n := 0
	for {
		before, after, found := strings.Cut(query, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
		query = after
	}
}

// storable is a string as PostgreSQL can keep it: UTF-8 without NUL. No name
// that may be registered has either, so none is found by it that should not.
func storable(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// translate maps PostgreSQL's errors to those of package store.
func translate(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch e.Code {
		case "23505": // unique_violation. Its detail may quote what is secret: not said.
			return fmt.Errorf("%w (%s)", store.ErrExists, e.ConstraintName)
		case "23503": // foreign_key_violation
			return fmt.Errorf("what it belongs to: %w", store.ErrNotFound)
		}
	}
	return err
}

// gone says that nobody knows what the connection would do next, or that its
// server is about to stop or cannot write.
func gone(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch {
		case e.Code == "57014": // query_canceled: statement_timeout
			return false
		case strings.HasPrefix(e.Code, "08"), // connection_exception
			strings.HasPrefix(e.Code, "57"), // operator_intervention: shutdown, restart
			strings.HasPrefix(e.Code, "53"), // insufficient_resources
			e.Code == "25006",               // read_only_sql_transaction: a standby now
			e.Code == "25P03":               // idle_in_transaction_session_timeout
			return true
		}
		return e.Severity == "FATAL" || e.Severity == "PANIC"
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.As(err, &connect) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed")
}

// again says that the same change may succeed: it met another.
func again(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01") // serialization_failure, deadlock_detected
}
