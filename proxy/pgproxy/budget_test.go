package pgproxy

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/store"
)

// ledger is the store's count.
type ledger struct {
	mu   sync.Mutex
	sums map[string]store.Spent
	err  error
}

func (l *ledger) Spend(_ context.Context, grant string, add store.Spent) (store.Spent, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return store.Spent{}, l.err
	}
	s := l.sums[grant]
	s.Rows, s.Bytes, s.Statements = s.Rows+add.Rows, s.Bytes+add.Bytes, s.Statements+add.Statements
	l.sums[grant] = s
	return s, nil
}

// TestBudgetOfSeveralGateways: what one gateway's sessions use of a grant's
// budget is gone on the others a second later, and nothing is counted twice.
func TestBudgetOfSeveralGateways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{sums: map[string]store.Spent{}}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var open [2]*budget
		for i := range open {
			all := &budgets{}
			open[i] = all.open("G1", "gw", policy.Budget{Statements: 5, Per: "grant"}, policy.Budget{})
			open[i].used.users.Add(1)
			wg.Go(func() {
				all.shareAll(ctx, l, func(error) {})
			})
		}
		for range 3 {
			if e := open[0].statement(); e != nil {
				t.Fatal(e)
			}
		}
		time.Sleep(2*shareEvery + time.Millisecond)
		for n := range 2 {
			if e := open[1].statement(); e != nil {
				t.Fatalf("statement %d of what is left: %v", n, e)
			}
		}
		if open[1].statement() == nil {
			t.Error("a sixth statement, on the other gateway")
		}
		l.mu.Lock()
		l.err = errors.New("away")
		l.mu.Unlock()
		time.Sleep(3 * shareEvery) // what cannot be told is kept
		l.mu.Lock()
		l.err = nil
		l.mu.Unlock()
		time.Sleep(2*shareEvery + time.Millisecond)
		if open[0].statement() == nil {
			t.Error("a sixth statement, on the first gateway")
		}
		stop()
		wg.Wait()
		if got := l.sums["G1"]; got.Statements != 5 {
			t.Errorf("counted %+v, want 5 statements", got)
		}
	})
}
