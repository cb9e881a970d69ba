package web_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/admin"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
	"jit-gateway/internal/web"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// options adds what the page needs beyond its first view.
func (s *site) options(o web.Options) web.Options {
	o.Tokens, o.Audit, o.Search, o.Findings = s.Tokens, s.DB, s.DB.SearchLines, s.DB.Findings
	o.Elsewhere = web.Elsewhere{Name: "Example", OIDC: provider{s}, Links: s.DB}
	o.Evidence = func(_ context.Context, _ approval.Caller, grant string, w io.Writer) error {
		_, err := io.WriteString(w, "PK pack of "+grant)
		return err
	}
	changes, err := admin.New(admin.Options{Users: s.DB, Acts: s.DB, Inventory: s.Inventory, Factors: s.mfa, IsAdmin: s.approvals.IsAdmin, Now: s.Clock.Now})
	if err != nil {
		panic(err)
	}
	set, err := policy.NewSet(rules())
	if err != nil {
		panic(err)
	}
	o.Admin = web.Admin{Changes: changes, Rules: func() *policy.Set { return set }, Check: checkTarget, Report: report,
		Health: func(context.Context) []web.Health {
			return []web.Health{{Area: "Store", Level: "ok", Text: "It answers."}, {Area: "Recordings", Level: "warn", Text: "4.1 GiB are free on the recordings' disk.", Fix: "Make room."},
				{Area: "Clean-up", Subject: "orders", Level: "fail", Text: "pg_role jit_x, tried 3 times. connection refused", Fix: "The gateway goes on trying."}}
		},
		Prove: func(ctx context.Context, seq int64, c audit.Checkpoint) ([]byte, []byte, error) {
			leaves, err := s.DB.Leaves(ctx, seq, 1)
			if err != nil {
				return nil, nil, err
			}
			proof, err := audit.Prove(ctx, s.DB, seq, c)
			return leaves[0].Data, proof, err
		},
	}
	return o
}

// checkTarget finds orders in order, and a host not.
func checkTarget(_ context.Context, t inventory.Target, standing bool) ([]web.CheckResult, error) {
	if t.Name == "web02" {
		return nil, errors.New("dial 127.0.0.1:22: connection refused")
	}
	out := []web.CheckResult{{What: "reachable", OK: true, Detail: "in 3 ms"}}
	if t.Kind == inventory.SSH {
		out = append(out, web.CheckResult{What: "certificates", Detail: "the host does not trust the user CA <b>", Fix: "echo 'TrustedUserCAKeys /etc/ssh/jit_ca.pub' >> /etc/ssh/sshd_config\nsystemctl reload ssh"})
	}
	if standing {
		out = append(out, web.CheckResult{What: "other ways in", OK: true, Detail: "none was found"})
	}
	return out, nil
}

func report(_ context.Context, q web.ReportQuery, format string, w io.Writer) error {
	rows := [][]string{{"section", "id", "user", "targets", "approved_by", "used_seconds", "start", "count"},
		{"report", "jit-gateway", "", "", "", "", q.From.Format(time.RFC3339), ""}, {"count", "grants", "", "", "", "", "", "1"}, {"count", "users_who_may_ask", "", "", "", "", "", "5"},
		{"grant", "G1", "alice", "web01", "bob", "3600", "2026-11-03T09:00:00Z", ""}, {"finding", "D1", "'=cmd()", "<i>", "", "", "", ""}, {"-- signature"}}
	if format == "json" {
		return json.NewEncoder(w).Encode(rows)
	}
	return csv.NewWriter(w).WriteAll(rows)
}

// more are the pages beyond the first view.
func (s *site) more(t *testing.T, ended, live session.Row) []view {
	check(t, s.DB.IndexLines(t.Context(), ended.ID, []store.Line{{At: 30 * time.Millisecond, Kind: "o", Text: "$ sudo systemctl restart nginx <b>"}}))
	if _, err := s.checkpoint(t); err != nil {
		t.Fatal(err)
	}
	files := s.copied(t)
	db := s.begin(t, "orders", "orders_rw", "Correct order 118", "postgres")
	db.Count(18_400, 2_310_000)
	check(t, db.Recorder().SQL(0, &recording.SQL{Op: "query", Seq: 1, Statement: "UPDATE orders SET total = 41.90 WHERE id = 118"}))
	return []view{{"access", "alice", "/access"}, {"ask", "alice", "/ask?target=web01&login=deploy"},
		{"grant", "alice", "/grants/" + live.GrantID}, {"audit", "carol", "/audit?user=alice"}, {"event", "carol", "/audit/5"}, {"search", "carol", "/search?q=nginx"}, {"findings", "carol", "/findings"},
		{"live", "carol", "/live"}, {"watch", "carol", "/sessions/" + live.ID}, {"files", "carol", "/sessions/" + files.ID + "?show=files"}, {"sessions-none", "carol", "/sessions?user=nobody&flag=denied"},
		{"report", "carol", "/report?from=2026-01-01&to=2026-12-31"},
		{"health", "dana", "/admin"}, {"users", "dana", "/admin/users"}, {"user", "dana", "/admin/users/alice"}, {"targets", "dana", "/admin/targets"}, {"target", "dana", "/admin/targets/web01"},
		{"rules", "dana", "/admin/rules"}, {"explain", "dana", "/admin/rules/explain?user=alice&target=orders&login=orders_ro"}, {"explain-no", "dana", "/admin/rules/explain?user=bob&target=web01&login=root"},
		{"changes", "dana", "/admin/changes"}}
}

// checkpoint signs the log as it is now.
func (s *site) checkpoint(t *testing.T) (vkey string, err error) {
	t.Helper()
	skey, vkey, err := audit.GenerateKey("jit-gateway.test/log")
	check(t, err)
	signer, err := audit.NewSigner(skey)
	check(t, err)
	_, err = (&audit.Checkpointer{Log: s.DB, Source: s.DB, Signer: signer, Now: s.Clock.Now}).Sign(t.Context())
	return vkey, err
}

// copied is a finished session that moved files, one of them refused.
func (s *site) copied(t *testing.T) session.Row {
	t.Helper()
	live := s.begin(t, "web01", "deploy", "new configuration", "ssh")
	w := live.Recorder()
	check(t, w.Event(recording.Event{Channel: 1, Payload: recording.Exec{Command: "sftp", Subsystem: true}}))
	sum := fmt.Sprintf("%064x", 12345)
	for _, op := range []recording.SFTP{{Op: "open", Path: "/etc/nginx/nginx.conf", Result: "ok"}, {Op: "write", Path: "/etc/nginx/nginx.conf", Bytes: 4212, SHA256: sum, Result: "ok"},
		{Op: "rename", Path: "/tmp/a", To: "/etc/nginx/sites/b <i>.conf", Result: "ok"}, {Op: "remove", Path: "/etc/shadow", Denied: true, Result: "permission denied"}} {
		check(t, w.Event(recording.Event{Channel: 1, Payload: op}))
	}
	check(t, w.Event(recording.Event{Channel: 1, Payload: recording.File{Via: "scp", Direction: "download", Path: "/var/log/syslog", Bytes: 7 << 20, SHA256: sum, Result: "ok"}}))
	live.Flag(session.FlagDenied)
	check(t, live.Finish(t.Context(), session.Outcome{}))
	return live.Row()
}
