package command

import (
	"context"
	"iter"
	"sync"

	"jit-gateway/internal/inventory"
)

// checkWidth is how many targets are looked at at once. Of thousands a few are
// always away, and each of those takes its whole time-out.
const checkWidth = 16

// checked is what was found out about one target.
type checked struct {
	target  inventory.Target
	results []CheckResult
	err     error
}

// checkEach checks targets, several at once, and gives them in their order.
func (c *call) checkEach(list []inventory.Target, standing bool) iter.Seq[checked] {
	return func(yield func(checked) bool) {
		ctx, cancel := context.WithCancel(c.ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		found := make([]chan checked, len(list))
		for i := range found {
			found[i] = make(chan checked, 1)
		}
		slots := make(chan struct{}, checkWidth)
		wg.Go(func() {
			for i, t := range list {
				slots <- struct{}{}
				wg.Go(func() {
					defer func() { <-slots }()
					x := checked{target: t, err: ctx.Err()}
					if x.err == nil {
						x.results, x.err = c.r.o.Check(ctx, t, standing)
					}
					found[i] <- x
				})
			}
		})
		for i := range list {
			if !yield(<-found[i]) {
				return
			}
		}
	}
}
