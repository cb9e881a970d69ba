package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// legs watches how many of the gateway's sessions have something at the target
// still. When a client sees its end depends on the client too; this does not.
type legs struct {
	seen []legsAt
	stop context.CancelFunc
	done chan struct{}
}

type legsAt struct {
	at time.Time
	n  int
}

// watchLegs counts every 10 ms until closed is called.
func watchLegs(count func(context.Context) (int, error)) *legs {
	ctx, cancel := context.WithCancel(context.Background())
	l := &legs{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			if n, err := count(ctx); err == nil {
				l.seen = append(l.seen, legsAt{time.Now(), n})
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return l
}

// closed is when half, 99 of 100 and all of them were gone, counted from a
// moment, in milliseconds; negative: not while it was watched.
func (l *legs) closed(from time.Time) (half, most, all float64) {
	time.Sleep(time.Second) // clients may have heard before
	l.stop()
	<-l.done
	first := 0
	for _, s := range l.seen {
		first = max(first, s.n)
	}
	reach := func(left int) float64 {
		for _, s := range l.seen {
			if s.at.After(from) && s.n <= left {
				return float64(s.at.Sub(from).Microseconds()) / 1000
			}
		}
		return -1
	}
	return reach(first / 2), reach(first / 100), reach(0)
}

// connectionsTo counts the connections to a port that are open on the side of
// who made them, in the kernel's table.
func connectionsTo(port int) func(context.Context) (int, error) {
	remote := fmt.Sprintf(":%04X", port)
	return func(context.Context) (n int, err error) {
		f, err := os.Open("/proc/net/tcp")
		if err != nil {
			return 0, err
		}
		defer f.Close()
		for sc := bufio.NewScanner(f); sc.Scan(); {
			const established = "01"
			if fields := strings.Fields(sc.Text()); len(fields) > 3 && fields[3] == established && strings.HasSuffix(fields[2], remote) {
				n++
			}
		}
		return n, nil
	}
}

// backends counts a database server's sessions under roles that the gateway made.
func backends(c *pgx.Conn) func(context.Context) (int, error) {
	return func(ctx context.Context) (n int, err error) {
		err = c.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'jit\_%\_%' AND usename <> 'jit_gateway'`).Scan(&n)
		return n, err
	}
}
