package approval

import (
	"container/heap"
	"sync"
	"time"
)

// agenda is what is due when.
type agenda struct {
	mu   sync.Mutex
	h    dates
	at   map[string]time.Time
	wake chan struct{}
}

type date struct {
	at time.Time
	id string
}

func (a *agenda) put(id string, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at == nil {
		a.at = map[string]time.Time{}
	}
	if old, ok := a.at[id]; ok && old.Equal(at) {
		return
	}
	a.at[id] = at
	heap.Push(&a.h, date{at, id})
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// due takes what is due. An id that was moved meanwhile is due at its newest time alone.
func (a *agenda) due(now time.Time) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for len(a.h) > 0 && !a.h[0].at.After(now) {
		d := heap.Pop(&a.h).(date)
		if at, ok := a.at[d.id]; ok && at.Equal(d.at) {
			delete(a.at, d.id)
			out = append(out, d.id)
		}
	}
	return out
}

func (a *agenda) sleep(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.h) == 0 {
		return longestSleep
	}
	return max(0, min(a.h[0].at.Sub(now), longestSleep))
}

type dates []date

func (d dates) Len() int           { return len(d) }
func (d dates) Less(i, j int) bool { return d[i].at.Before(d[j].at) }
func (d dates) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *dates) Push(x any)        { *d = append(*d, x.(date)) }
func (d *dates) Pop() any {
	old := *d
	x := old[len(old)-1]
	*d = old[:len(old)-1]
	return x
}
