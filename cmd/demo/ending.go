package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// end: the window closes, and so does the shell that is still open in it.
func (w *story) end() error {
	w.title("The end is exact")
	w.tell("Alice's shell on web01 is still open. Her 40 seconds are over any moment now…")
	w.shell.Wait = 60 * time.Second
	status, err := w.shell.Exit()
	rest, _ := w.shell.Expect(`.*`)
	w.output(strings.TrimLeft(clean(rest), "\n"))
	if err != nil {
		return err
	}
	if status == 0 {
		return fmt.Errorf("alice's shell ended with status 0, as if she had logged out")
	}
	fmt.Println(w.paint("2", fmt.Sprintf("(exit status %d)", status)))
	fmt.Println()
	w.tell("A new connection starts at the beginning; a script, with nobody to ask, is told at once.")
	script := w.s.SSH(w.ctx, "alice", "web01", "true")
	script.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // without our terminal
	_, err = w.run("alice", "ssh web01 true </dev/null", script, 255)
	return err
}

// revoke: access is taken away in the middle of a statement.
func (w *story) revoke() error {
	w.title("Taken away, in the middle of a statement")
	out, err := w.s.Run(w.ctx, "alice", "", "jit-gateway", "grants", "--json")
	if err != nil {
		return err
	}
	var grants []struct {
		ID      string   `json:"id"`
		Targets []string `json:"targets"`
		State   string   `json:"state"`
	}
	if err := json.Unmarshal([]byte(out), &grants); err != nil {
		return fmt.Errorf("read alice's grants: %w", err)
	}
	for _, g := range grants {
		if g.State == "active" && len(g.Targets) == 1 && g.Targets[0] == "orders" {
			w.grantDB = g.ID
		}
	}
	if w.grantDB == "" {
		return fmt.Errorf("alice has no open grant for orders: %s", out)
	}
	w.tell("Alice's window on orders has almost an hour left. A long statement runs…")
	w.prompt("alice", `psql … -c "SELECT pg_sleep(600)"`)
	query, err := startBackground(w.psqlCommand("SELECT pg_sleep(600)"))
	if err != nil {
		return err
	}
	if err := w.waitForValue("1", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND usename LIKE 'jit\\_%' AND pid <> pg_backend_pid()"); err != nil {
		return err
	}
	w.tell("…and the administrator of the gateway, on its machine, ends it.")
	start := time.Now()
	if _, err := w.run("root", fmt.Sprintf("jit-gateway revoke %s --reason 'laptop reported stolen'", w.grantDB),
		w.local("revoke", w.grantDB, "--reason", "laptop reported stolen"), 0); err != nil {
		return err
	}
	status, err := query.wait(15 * time.Second)
	took := time.Since(start)
	w.prompt("alice", `(the psql from above)`)
	w.output(query.news())
	if err != nil || status == 0 {
		return fmt.Errorf("the statement outlived its grant: status %d, %v", status, err)
	}
	fmt.Println(w.paint("2", fmt.Sprintf("(exit status %d, %d ms after the command above was typed)", status, took.Milliseconds())))
	fmt.Println()
	w.tell("In the database: no backend, and no role that the gateway had made.")
	for _, q := range []string{"SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'jit\\_%' AND usename NOT LIKE 'jit\\_gateway%'",
		"SELECT count(*) FROM pg_roles WHERE rolname LIKE 'jit\\_%' AND rolname NOT LIKE 'jit\\_gateway%' AND rolname <> 'jit_sessions'"} {
		if err := w.waitForValue("0", q); err != nil {
			return err
		}
		fmt.Printf("%s %s\n0\n", w.paint("1;32", "postgres=#"), w.paint("1", q))
	}
	fmt.Println()
	w.tell("And the token is dead.")
	_, err = w.psql(2, "SELECT 1")
	return err
}

func (w *story) local(args ...string) *exec.Cmd {
	return exec.CommandContext(w.ctx, w.s.Program, append([]string{"--config", w.s.Config()}, args...)...)
}

// waitForValue asks the database itself, behind the gateway's back.
func (w *story) waitForValue(want, sql string) error {
	var got string
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got, err = w.s.Database().Value(w.ctx, "orders", sql); err == nil && got == want {
			return nil
		}
	}
	return fmt.Errorf("%s: got %q, %v, want %q", sql, got, err, want)
}

// audit: what remains is the record.
func (w *story) audit() error {
	w.title("What remains is the record")
	w.tell("Carol, the auditor, sees every session and can watch any of them again.")
	if _, err := w.run("carol", "ssh jit-gateway sessions --all", w.s.SSH(w.ctx, "carol", "jit-gateway", "sessions", "--all"), 0); err != nil {
		return err
	}
	shell, sql, err := w.recordings()
	if err != nil {
		return err
	}
	if _, err := w.run("carol", "ssh jit-gateway recording replay "+shell+" --speed 20", w.s.SSH(w.ctx, "carol", "jit-gateway", "recording", "replay", shell, "--speed", "20"), 0); err != nil {
		return err
	}
	w.tell("A database session is a timeline of statements.")
	if _, err := w.run("carol", "ssh jit-gateway recording export "+sql+" --format sql", w.s.SSH(w.ctx, "carol", "jit-gateway", "recording", "export", sql, "--format", "sql"), 0); err != nil {
		return err
	}
	w.tell("Both are sealed, and every change of state is an event in a signed Merkle log.")
	if _, err := w.run("carol", "ssh jit-gateway recording verify "+shell+" "+sql, w.s.SSH(w.ctx, "carol", "jit-gateway", "recording", "verify", shell, sql), 0); err != nil {
		return err
	}
	if _, err := w.run("carol", "ssh jit-gateway audit verify", w.s.SSH(w.ctx, "carol", "jit-gateway", "audit", "verify"), 0); err != nil {
		return err
	}
	_, err = w.run("carol", "ssh jit-gateway audit tail --lines 14", w.s.SSH(w.ctx, "carol", "jit-gateway", "audit", "tail", "--lines", "14"), 0)
	return err
}

// recordings finds alice's shell and her first statement.
func (w *story) recordings() (shell, sql string, err error) {
	out, err := w.s.Run(w.ctx, "carol", "", "jit-gateway", "sessions", "--all", "--json")
	if err != nil {
		return "", "", err
	}
	var rows []struct {
		ID       string `json:"id"`
		Protocol string `json:"protocol"`
		Cause    string `json:"cause"`
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		return "", "", fmt.Errorf("read the sessions: %w", err)
	}
	for _, r := range rows { // newest first
		if r.Protocol == "ssh" && r.Cause == "expired" {
			shell = r.ID
		}
		if r.Protocol == "postgres" {
			sql = r.ID
		}
	}
	if shell == "" || sql == "" {
		return "", "", fmt.Errorf("alice's sessions are missing: %s", out)
	}
	return shell, sql, nil
}

// tamper: somebody with root on the gateway changes a recording.
func (w *story) tamper() error {
	w.title("Somebody edits a recording")
	shell, _, err := w.recordings()
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(w.s.Dir, "gateway", "recordings", "*"+shell+"*"))
	if more, err2 := filepath.Glob(filepath.Join(w.s.Dir, "gateway", "recordings", "*", "*"+shell+"*")); err2 == nil {
		files = append(files, more...)
	}
	if err != nil || len(files) == 0 {
		return fmt.Errorf("the recording of %s is not where recordings are: %v", shell, err)
	}
	path := files[0]
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	after := append([]byte{}, before...)
	after[len(after)/2] ^= 0x20
	w.tell("One bit in the middle of %s is turned.", rel(path))
	if err := os.WriteFile(path, after, 0o600); err != nil {
		return err
	}
	_, err = w.run("carol", "ssh jit-gateway recording verify "+shell, w.s.SSH(w.ctx, "carol", "jit-gateway", "recording", "verify", shell), 1)
	if werr := os.WriteFile(path, before, 0o600); werr != nil && err == nil {
		err = werr
	}
	return err
}
