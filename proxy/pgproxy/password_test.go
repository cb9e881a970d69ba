package pgproxy

import (
	"strings"
	"testing"
	"time"
)

func TestWithoutPasswords(t *testing.T) {
	for in, want := range map[string]string{
		"ALTER ROLE bob PASSWORD 'it''s me' VALID UNTIL 'infinity'":                    "ALTER ROLE bob PASSWORD '***' VALID UNTIL 'infinity'",
		"create user \"x\" with encrypted Password E'hunter2'; SELECT 'password', 'x'": "create user \"x\" with encrypted Password E'***'; SELECT 'password', 'x'",
		"SELECT 1;\nalter /* a /* b */ ' */ group g password -- '\n $x$hunter2$x$":     "SELECT 1;\nalter /* a /* b */ ' */ group g password -- '\n $x$***$x$",
		"CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'bob', password 'hunter2')":  "CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'bob', password '***')",
		"ALTER USER a PASSWORD U&'hunter2'; ALTER USER b PASSWORD 'hunter3';":          "ALTER USER a PASSWORD U&'***'; ALTER USER b PASSWORD '***';",
		"SELECT 'alter role x password ', 'shown'":                                     "",
		"INSERT INTO t (password) VALUES ('shown')":                                    "",
		"SELECT password 'shown'":                                                      "",
		"ALTER ROLE x PASSWORD 'a\\'; DELETE FROM t; --'":                              "",
		"SELECT '\\'; ALTER ROLE x PASSWORD '; DELETE FROM t; --'":                     "",
		"/* ALTER ROLE x PASSWORD '*/ DELETE FROM t; --'":                              "",
		"SELECT $a$ ALTER ROLE x PASSWORD '$a$; DELETE FROM t; --'":                    "",
		"SELECT \"; ALTER ROLE x PASSWORD '\"; DELETE FROM t; --'":                     "",
		"-- ALTER ROLE x PASSWORD '\nDELETE FROM t; --'":                               "",
		"ALTER ROLE x PASSWORD NULL":                                                   "",
		"ALTER ROLE x SET search_path = 'password', 'shown'":                           "",
		"DO $$ BEGIN EXECUTE 'ALTER ROLE x PASSWORD ''shown'''; END $$":                "",
		"ALTER ROLE x PASSWORD 'never ended":                                           "",
	} {
		if want == "" {
			want = in
		}
		if got, hid := withoutPasswords(in); got != want || hid != (in != want) {
			t.Errorf("%s\n became %s (%v)", in, got, hid)
		}
	}
	for s, want := range map[string]bool{"password": true, "xPassWordx": true, "passwor": false, "ppassword": true, "passpassword": true, "": false, "pasword password": true} {
		if mentionsPassword(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

// No record has the password that somebody gives to a role, and no value that
// a rule redacts comes back in the text of an error.
func TestG8NoSecretOfAStatementIsRecorded(t *testing.T) {
	w := newWorld(t, redacting("(?i)ssn"))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	c := w.talker("alice", token)
	c.say(1, mQuery("ALTER ROLE nobody_here PASSWORD 'hunter2'"))
	c.say(1, mParse("", "ALTER ROLE nobody_here PASSWORD 'hunter2'"), mBind("", ""), mExecute(""), mSync)
	if got := c.say(1, mParse("", "SELECT $1::int AS ssn"), mBind("", "", "hunter2"), mSync); got != "1E(22P02)Z" {
		t.Fatalf("the server said %s", got)
	}
	if got := c.say(1, mParse("", "SELECT ($1::text || random()::text)::int AS ssn"), mBind("", "", "hunter2"), mExecute(""), mSync); got != "12E(22P02)Z" {
		t.Fatalf("the server said %s", got)
	}
	c.say(1, mQuery("PREPARE p(text) AS SELECT $1::text AS ssn"))
	c.say(1, mBind("", "p", "hunter2"), mExecute(""), mSync)
	c.say(1, mBind("", "unknown", "hunter2"), mSync)
	n := 0
	c.conn.Write(message('X'))
	c.conn.Close()
	for _, e := range w.events("alice") {
		text := e.Statement + e.Error
		for _, p := range e.Params {
			text += p.Text + string(p.Binary)
		}
		if strings.Contains(text, "hunter2") {
			t.Errorf("on record: %+v", e)
		}
		if e.Redacted {
			n++
		}
		if e.SQLSTATE == "22P02" && e.Error != "(redacted)" {
			t.Errorf("the error: %+v", e)
		}
	}
	if n < 6 {
		t.Errorf("%d events say that they are redacted", n)
	}
}
