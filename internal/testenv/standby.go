package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Standby starts a server in dir that follows p, and waits for what p
// acknowledges from then on (synchronous replication). Promote makes it one of
// its own.
func (p *Postgres) Standby(ctx context.Context, dir string) (*Postgres, error) {
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		owner, err := credential("postgres")
		if err != nil {
			return nil, err
		}
		if err := os.Chown(data, int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, err
		}
	}
	from := fmt.Sprintf("host=%s port=%d user=%s password=%s sslmode=disable application_name=standby", p.Host, p.Port, p.User, p.Password)
	proc, err := Command{Name: "pg_basebackup", Args: []string{PostgresBin + "/pg_basebackup", "-D", data, "-d", from, "-c", "fast", "-R", "--no-sync"},
		Dir: dir, Log: filepath.Join(dir, "basebackup.log"), User: "postgres"}.Start()
	if err != nil {
		return nil, err
	}
	<-proc.Done()
	if proc.err != nil {
		log, _ := os.ReadFile(proc.Log)
		return nil, fmt.Errorf("pg_basebackup: %w\n%s", proc.err, log)
	}
	ca, err := os.ReadFile(p.CAFile)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca, 0o644); err != nil {
		return nil, err
	}
	s, err := StartPostgres(ctx, PostgresOptions{Dir: dir, Conf: []string{"primary_conninfo = '" + from + "'"}})
	if err != nil {
		return nil, err
	}
	for _, q := range []string{"ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()"} {
		if err := p.Exec(ctx, "postgres", q); err != nil {
			return nil, errors.Join(err, s.Stop())
		}
	}
	return s, nil
}

// Promote ends the following.
func (p *Postgres) Promote(ctx context.Context) error {
	return p.Exec(ctx, "postgres", "SELECT pg_promote(true, 30)")
}

// Kill ends the server as a lost machine does.
func (p *Postgres) Kill() error { return p.proc.Stop(syscall.SIGKILL) }
