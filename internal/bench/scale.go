package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/testenv/stack"
)

// scaleRules approve at once: people are not what is measured.
const scaleRules = `
  - name: scale
    users: ["*"]
    max_duration: 8h
    auto: true
`

// scale is one gateway with many live sessions.
type scale struct {
	*place
	*runner
	key    ssh.Signer
	single []string // how late one session's end was, by protocol
}

// Scale opens o.Live SSH sessions and as many PostgreSQL sessions at once,
// ends all of them by revoking their grants, and tells what they cost, how
// late the last one was cut, how the store grew, and how long a restart takes.
func Scale(ctx context.Context, o Options) (err error) {
	r := &runner{Options: o, began: time.Now()}
	before := load()
	p, err := newPlace(ctx, r, stack.Options{Rules: scaleRules, PlainDatabase: true,
		SSHDConfig:   []string{"LogLevel ERROR", "MaxStartups 5000:30:5000", "MaxSessions 4000"},
		PostgresConf: []string{fmt.Sprintf("max_connections = %d", o.Live+100), "shared_buffers = '128MB'", "log_min_messages = fatal"}})
	if err != nil {
		return err
	}
	s := &scale{place: p, runner: r}
	defer func() { err = errors.Join(err, p.close()) }()
	pem, err := os.ReadFile(p.stack.Key("alice"))
	if err != nil {
		return err
	}
	if s.key, err = ssh.ParsePrivateKey(pem); err != nil {
		return err
	}
	r.heading(fmt.Sprintf("%d live sessions of each protocol on one gateway", o.Live), before, [][]string{{o.Gateway, "version"}, {"go", "version"}})
	fmt.Fprintf(o.Out, "| | sessions | opened in s | PSS KiB each | goroutines each | gone at the target: half, ms | 99 %% | all | client saw it: half, ms | 99 %% | all | gateway CPU, s |\n|---|%s\n", strings.Repeat("---:|", 11))
	for _, protocol := range []string{"ssh", "postgres"} {
		if err := s.protocol(ctx, protocol); err != nil {
			return err
		}
	}
	fmt.Fprintf(o.Out, "\nOne session terminated while the others live, until its client saw it, again and again: %s.\n", strings.Join(s.single, "; "))
	if err := s.grants(ctx); err != nil {
		return err
	}
	if err := s.storeAndRestart(ctx); err != nil {
		return err
	}
	if err := s.manyRows(ctx); err != nil {
		return err
	}
	r.footing()
	return r.verdict()
}

// live is one open session, as its client has it.
type live interface {
	// wait returns when the gateway has ended it.
	wait()
	io.Closer
}

// protocol opens the sessions, measures, revokes their grant, and measures
// when each client saw its end.
func (s *scale) protocol(ctx context.Context, protocol string) error {
	target := map[string]string{"ssh": "deploy@web01", "postgres": "orders_rw@orders"}[protocol]
	request, err := s.stack.Ask(ctx, "alice", target, grantFor, "scale")
	if err != nil {
		return err
	}
	grant, err := s.stack.Activate(ctx, "alice", request)
	if err != nil {
		return err
	}
	open := s.openSSH
	if protocol == "postgres" {
		token, err := s.stack.Token(ctx, "alice", target)
		if err != nil {
			return err
		}
		open = func(ctx context.Context) (live, error) { return s.openPostgres(ctx, token) }
	}
	pids := []int{s.stack.GatewayPID.ID}
	count := connectionsTo(portOf(s.stack.Host("web01").Addr))
	if protocol == "postgres" {
		c, err := pgx.Connect(ctx, s.stack.Database().URL("orders"))
		if err != nil {
			return err
		}
		defer c.Close(context.WithoutCancel(ctx))
		count = backends(c)
	}
	memoryBefore, err := memory(pids)
	if err != nil {
		return err
	}
	routinesBefore, err := goroutines(s.stack.MetricsPort)
	if err != nil {
		return err
	}
	start := time.Now()
	sessions := s.openAll(ctx, protocol, open)
	took := time.Since(start)
	defer func() {
		for _, l := range sessions {
			l.Close()
		}
	}()
	if len(sessions) == 0 {
		return fmt.Errorf("%s: no session opened", protocol)
	}
	time.Sleep(3 * time.Second)
	memoryAfter, err := memory(pids)
	if err != nil {
		return err
	}
	routinesAfter, err := goroutines(s.stack.MetricsPort)
	if err != nil {
		return err
	}
	cpu := processCPU(s.stack.GatewayPID.ID)
	endings := make(chan time.Time, len(sessions))
	for _, l := range sessions {
		go func() { l.wait(); endings <- time.Now() }()
	}
	single, err := s.endSome(ctx, grant, min(scaleSingles, len(sessions)/2), endings)
	if err != nil {
		return err
	}
	cpuBefore, err := cpu()
	if err != nil {
		return err
	}
	legs := watchLegs(count)
	if _, err := s.stack.Local(ctx, "revoke", grant, "--reason", "bench"); err != nil {
		return err
	}
	ended := make([]time.Time, 0, len(sessions))
	for len(ended) < len(sessions)-len(single) {
		ended = append(ended, <-endings)
	}
	cpuAfter, err := cpu()
	if err != nil {
		return err
	}
	at, err := s.eventTime(ctx, "grant.revoked", grant)
	if err != nil {
		return err
	}
	ms := make([]float64, len(ended))
	for i, e := range ended {
		ms[i] = float64(e.Sub(at).Microseconds()) / 1000
	}
	slices.Sort(ms)
	n := float64(len(sessions))
	half, most, all := legs.closed(at)
	s.single = append(s.single, fmt.Sprintf("%s: half within %.0f ms, all %d within %.0f ms", protocol, single[len(single)/2], len(single), single[len(single)-1]))
	_, err = fmt.Fprintf(s.Out, "| %s | %d | %.0f | %.0f | %.1f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.1f |\n", protocol, len(sessions), took.Seconds(), (memoryAfter-memoryBefore)/n,
		(routinesAfter-routinesBefore)/n, half, most, all, ms[len(ms)/2], ms[len(ms)*99/100], ms[len(ms)-1], cpuAfter-cpuBefore)
	return err
}

// scaleSingles is how many sessions are ended one at a time.
const scaleSingles = 40

// endSome terminates n sessions of the grant, one after the other, and returns
// how long after the decision each client saw its end, sorted, in milliseconds.
func (s *scale) endSome(ctx context.Context, grant string, n int, endings <-chan time.Time) ([]float64, error) {
	list, err := s.events(ctx, min(20*s.Live+1000, 100_000))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range list {
		if e.Type == "session.started" && e.Grant == grant && len(ids) < n {
			ids = append(ids, e.Session)
		}
	}
	seen := map[string]time.Time{}
	for _, id := range ids {
		if _, err := s.stack.Local(ctx, "terminate", id, "--reason", "bench"); err != nil {
			return nil, err
		}
		select {
		case seen[id] = <-endings:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if list, err = s.events(ctx, 20*n); err != nil {
		return nil, err
	}
	var ms []float64
	for _, e := range list {
		if at, ok := seen[e.Session]; ok && e.Type == "session.terminated" {
			ms = append(ms, float64(at.Sub(e.Time).Microseconds())/1000)
		}
	}
	if len(ms) != n {
		return nil, fmt.Errorf("%d sessions were terminated, and the audit log has %d", n, len(ms))
	}
	slices.Sort(ms)
	return ms, nil
}

// openAll opens o.Live sessions, a few at a time.
func (s *scale) openAll(ctx context.Context, protocol string, open func(context.Context) (live, error)) []live {
	var mu sync.Mutex
	var out []live
	var wg sync.WaitGroup
	todo := make(chan struct{})
	for range parallel {
		wg.Go(func() {
			for range todo {
				l, err := open(ctx)
				mu.Lock()
				if err != nil {
					s.failed++
					s.note("%s session: %v", protocol, err)
				} else {
					out = append(out, l)
				}
				mu.Unlock()
			}
		})
	}
	for range s.Live {
		todo <- struct{}{}
	}
	close(todo)
	wg.Wait()
	return out
}

type sshLive struct {
	outer, inner *ssh.Client
	done         chan struct{}
}

func (l *sshLive) wait() { <-l.done }
func (l *sshLive) Close() error {
	return errors.Join(l.inner.Close(), l.outer.Close())
}

// openSSH is a session with a process that waits, over a connection of its own.
func (s *scale) openSSH(context.Context) (live, error) {
	config := &ssh.ClientConfig{User: "alice", Auth: []ssh.AuthMethod{ssh.PublicKeys(s.key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: time.Minute}
	outer, err := ssh.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.stack.SSHPort), config)
	if err != nil {
		return nil, err
	}
	conn, err := outer.Dial("tcp", "web01:22")
	if err != nil {
		return nil, errors.Join(err, outer.Close())
	}
	inside := *config
	inside.User = "deploy"
	c, chans, reqs, err := ssh.NewClientConn(conn, "web01:22", &inside)
	if err != nil {
		return nil, errors.Join(err, outer.Close())
	}
	l := &sshLive{outer: outer, inner: ssh.NewClient(c, chans, reqs), done: make(chan struct{})}
	session, err := l.inner.NewSession()
	if err == nil {
		if _, err = session.StdinPipe(); err == nil {
			err = session.Start("exec cat")
		}
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	go func() {
		_ = session.Wait() // how it ended is not measured, when is
		close(l.done)
	}()
	return l, nil
}

type pgLive struct {
	conn *pgconn.PgConn
	ctx  context.Context
}

func (l *pgLive) wait() { _ = l.conn.WaitForNotification(l.ctx) } // returns at the FATAL
func (l *pgLive) Close() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), time.Second)
	defer cancel()
	return l.conn.Close(ctx)
}

func (s *scale) openPostgres(ctx context.Context, token string) (live, error) {
	c, err := pgconn.Connect(ctx, fmt.Sprintf("host=127.0.0.1 port=%d user=alice dbname=orders sslmode=disable password=%s", s.stack.PostgresPort, token))
	if err != nil {
		return nil, err
	}
	if _, err := c.Exec(ctx, "SELECT 1").ReadAll(); err != nil {
		return nil, err
	}
	return &pgLive{c, ctx}, nil
}

// scaleEvent is what is read of an audit event.
type scaleEvent struct {
	Time    time.Time `json:"time"`
	Type    string    `json:"type"`
	Grant   string    `json:"grant"`
	Request string    `json:"request"`
	Session string    `json:"session"`
}

func (s *scale) events(ctx context.Context, n int) ([]scaleEvent, error) {
	out, err := s.stack.Local(ctx, "audit", "tail", "-n", fmt.Sprint(n), "--json")
	if err != nil {
		return nil, err
	}
	var list []scaleEvent
	for dec := json.NewDecoder(strings.NewReader(out)); ; {
		var e scaleEvent
		if err := dec.Decode(&e); err == io.EOF {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		list = append(list, e)
	}
}

func (s *scale) eventTime(ctx context.Context, typ, grant string) (time.Time, error) {
	list, err := s.events(ctx, min(20*s.Live+1000, 100_000))
	if err != nil {
		return time.Time{}, err
	}
	for _, e := range list {
		if e.Type == typ && e.Grant == grant {
			return e.Time, nil
		}
	}
	return time.Time{}, fmt.Errorf("the audit log has no %s of %s", typ, grant)
}

func portOf(addr string) int {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0
	}
	return n
}
