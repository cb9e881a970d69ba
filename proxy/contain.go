package proxy

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Contain runs fn, and turns a panic into a *PanicError, logged with its stack
// and counted: one session's panic never ends the process. Every goroutine
// that a handler starts needs its own.
func Contain(log *slog.Logger, m *Metrics, name string, fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			p := &PanicError{Name: name, Value: v, Stack: debug.Stack()}
			m.panic(name)
			if log == nil {
				log = slog.Default()
			}
			log.Error("a panic was contained", "where", name, "panic", fmt.Sprint(v), "stack", string(p.Stack))
			err = p
		}
	}()
	return fn()
}

// PanicError is a panic that Contain caught. Its text is fit for users; the
// rest is for logs.
type PanicError struct {
	Name  string
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return "internal error in " + e.Name }
