package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"jit-gateway/internal/testenv"
	"jit-gateway/internal/testenv/stack"
)

// story is the walk under way.
type story struct {
	*show
	ctx   context.Context
	s     *stack.Stack
	began time.Time

	shell   *testenv.PTY // alice's shell on web01
	token   string
	grantDB string
}

// demo sets up, walks, and stops.
func demo(ctx context.Context, dir string) (err error) {
	w := &story{show: newShow(), ctx: ctx, began: time.Now()}
	fmt.Println(w.paint("1", "jit-gateway: access that is asked for, approved, recorded, and gone when its time is over."))
	w.title("A gateway, two hosts, a database, three people")
	if w.s, err = setUp(ctx, dir, false); err != nil {
		return err
	}
	defer func() {
		if w.shell != nil {
			w.shell.Close()
		}
		err = errors.Join(err, w.s.Down())
	}()
	fmt.Println()
	w.tell("Alice is an engineer, bob approves, carol audits. Nobody has access to anything:\n"+
		"no account, no key on a host, no password of the database. Their ssh is the stock one;\n"+
		"each has an ssh_config (%s/ssh_config, …), whose -F is left out below.", rel(dir))
	for _, chapter := range []func() error{w.ask, w.silent, w.database, w.end, w.revoke, w.audit, w.tamper} {
		if err := chapter(); err != nil {
			return err
		}
	}
	fmt.Printf("\n%s\n\n", w.paint("1;36", fmt.Sprintf("── That was all of it, in %.0f s. ", time.Since(w.began).Seconds())+strings.Repeat("─", 40)))
	fmt.Printf("make up   the same, left running for you to try\nREADME.md what it is, docs/guarantees.md what it promises\n")
	return nil
}

// ask: the connection is the request.
func (w *story) ask() error {
	w.title("The connection is the request")
	w.tell("Alice has to look at web01. She just connects.")
	w.prompt("alice", "ssh web01")
	var err error
	if w.shell, err = testenv.StartPTY(w.s.SSH(w.ctx, "alice", "web01")); err != nil {
		return err
	}
	for _, qa := range [][2]string{{`Reason: `, "nginx 502s, INC-4211"}, {`For how long [^\n]*: `, "30m"}} {
		if _, err := w.part(w.shell, qa[0]); err != nil {
			return err
		}
		if err := w.shell.Line(qa[1]); err != nil {
			return err
		}
	}
	waiting, err := w.part(w.shell, `stays open\.\r?\n`)
	if err != nil {
		return err
	}
	request := requestID.FindString(waiting)
	fmt.Println()
	w.tell("Meanwhile bob looks at what waits for him. He sees all of it before his code is asked\n" +
		"for, and approves for 40 seconds instead of 30 minutes, so that you see the end soon.")
	if err := w.approve(request, "--for", "40s"); err != nil {
		return err
	}
	w.tell("Alice's terminal goes on by itself. Her own code, asked for now, starts the window.")
	if _, err := w.part(w.shell, `Code: `); err != nil {
		return err
	}
	code, err := w.s.Code("alice")
	if err != nil {
		return err
	}
	if err := w.secret(w.shell, code); err != nil {
		return err
	}
	if _, err := w.part(w.shell, `deploy@web01:~\$ `); err != nil {
		return err
	}
	if err := w.shell.Line("tail -1 /etc/hosts; whoami"); err != nil {
		return err
	}
	if _, err := w.part(w.shell, `deploy\r\n.*\$ `); err != nil {
		return err
	}
	fmt.Println()
	fmt.Println()
	w.tell("She is in, with a certificate that the gateway made for this session, good for this\n" +
		"login on this host, for two minutes at most. Her shell stays open while we go on.")
	return nil
}

var requestID = regexp.MustCompile(`\bR[0-9A-HJKMNP-TV-Z]{3,}\b`)

// approve is bob at his own terminal.
func (w *story) approve(request string, more ...string) error {
	if request == "" {
		return errors.New("the request has no id that could be approved")
	}
	args := append([]string{"-t", "jit-gateway", "approve", request}, more...)
	w.prompt("bob", "ssh "+strings.Join(args, " "))
	p, err := testenv.StartPTY(w.s.SSH(w.ctx, "bob", args...))
	if err != nil {
		return err
	}
	defer p.Close()
	if _, err := w.part(p, `Code: `); err != nil {
		return err
	}
	code, err := w.s.Code("bob")
	if err != nil {
		return err
	}
	if err := w.secret(p, code); err != nil {
		return err
	}
	status, err := p.Exit()
	if err != nil {
		return err
	}
	rest, _ := p.Expect(`.*`)
	w.output(strings.TrimLeft(clean(rest), "\n"))
	fmt.Println()
	if status != 0 {
		return fmt.Errorf("bob's approval ended with status %d", status)
	}
	return nil
}

// silent: under a live grant everything just works.
func (w *story) silent() error {
	w.title("While the window is open, everything passes")
	w.tell("No prompt, so the tools that people have just work.")
	if _, err := w.run("alice", "ssh web01 'hostname; echo to stderr >&2; exit 3'", w.s.SSH(w.ctx, "alice", "web01", "hostname; echo to stderr >&2; exit 3"), 3); err != nil {
		return err
	}
	conf := w.s.SSHConfig("alice")
	if _, err := w.run("alice", "scp README.md web01:", exec.CommandContext(w.ctx, "scp", "-q", "-F", conf, "README.md", "web01:"), 0); err != nil {
		return err
	}
	_, err := w.run("alice", "rsync -ai web01:README.md "+rel(w.s.Dir)+"/copy",
		exec.CommandContext(w.ctx, "rsync", "-ai", "-e", "ssh -F "+conf, "web01:README.md", w.s.Dir+"/copy"), 0)
	return err
}

// database: the same for PostgreSQL, with a session token as the password.
func (w *story) database() error {
	w.title("A database: the same, with a token")
	w.tell("For psql the gateway is the server. The ssh half asks, waits and takes the code; its\n" +
		"stdout is a token that works as the password, for this window and from here only.")
	w.prompt("alice", "export PGPASSWORD=$(ssh jit-gateway token orders_ro@orders)")
	code, err := w.s.Code("alice")
	if err != nil {
		return err
	}
	cmd := w.s.SSH(w.ctx, "alice", "jit-gateway", "token", "orders_ro@orders")
	cmd.Stdin = strings.NewReader("order 6 looks wrong\n1h\n" + code + "\n")
	ask, err := startBackground(cmd)
	if err != nil {
		return err
	}
	text, err := ask.until(w.ctx, "stays open.")
	w.output(answered(text, "order 6 looks wrong", "1h"))
	if err != nil {
		return err
	}
	fmt.Println()
	if err := w.approve(requestID.FindString(text)); err != nil {
		return err
	}
	status, err := ask.wait(20 * time.Second)
	w.token = strings.TrimSpace(ask.out.String())
	rest := strings.ReplaceAll(strings.TrimLeft(ask.news(), "\n"), w.token, "")
	w.output(strings.Replace(rest, "Code: ", "Code: ******\n", 1))
	if err != nil || status != 0 {
		return fmt.Errorf("token: status %d, %v", status, err)
	}
	w.tell("Where PGPASSWORD is now %s…", w.token[:min(len(w.token), 12)])
	query := "SELECT o.id, c.name, o.item, o.quantity FROM orders o JOIN customers c ON c.id = o.customer WHERE o.id > 3"
	if _, err := w.psql(0, query); err != nil {
		return err
	}
	w.tell("The session's role is a member of orders_ro, so it reads. Nothing else:")
	_, err = w.psql(1, "UPDATE orders SET price = 0 WHERE id = 6")
	return err
}

func (w *story) psqlCommand(sql string) *exec.Cmd {
	cmd := exec.CommandContext(w.ctx, "psql", "-X", fmt.Sprintf("host=127.0.0.1 port=%d dbname=orders user=alice sslmode=verify-full sslrootcert=%s/ca.pem",
		w.s.PostgresPort, w.s.Dir), "-c", sql)
	cmd.Env = append(cmd.Environ(), "PGPASSWORD="+w.token, "PAGER=cat")
	return cmd
}

func (w *story) psql(want int, sql string) (string, error) {
	line := fmt.Sprintf(`psql "host=127.0.0.1 port=%d dbname=orders user=alice sslmode=verify-full" \`+"\n         -c %q", w.s.PostgresPort, sql)
	return w.run("alice", line, w.psqlCommand(sql), want)
}

// answered puts the answers behind their questions: without a terminal they
// came from a pipe, and nobody saw them.
func answered(text, reason, duration string) string {
	text = strings.Replace(text, "Reason: ", "Reason: "+reason+"\n", 1)
	return regexp.MustCompile(`(For how long [^\n]*: )`).ReplaceAllString(text, "${1}"+duration+"\n")
}
