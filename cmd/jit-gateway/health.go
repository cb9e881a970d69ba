package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"jit-gateway/internal/command"
)

// fdsPerSession bounds what a live session holds open: client and target,
// recording, a recording's directory for a moment.
const fdsPerSession = 6

// healthOfOperations looks at what an operator can mend before anybody notices.
func (g *gateway) healthOfOperations(ctx context.Context, add addHealth) {
	for _, s := range g.sources.Status() {
		switch {
		case s.Err != nil:
			add("Targets", s.Source, "warn", fmt.Sprintf("What it gave at %s was refused: %v; its %d targets of before stay.", s.ReadAt.Format(time.RFC3339), s.Err, s.Targets),
				"`jit-gateway target sync "+s.Source+" --dry-run` tells what it would change.")
		case s.ReadAt.IsZero():
			add("Targets", s.Source, "warn", "It was not read yet.", "")
		default:
			add("Targets", s.Source, "ok", fmt.Sprintf("%d targets, read at %s.", s.Targets, s.ReadAt.Format(time.RFC3339)), "")
		}
	}
	g.healthOfSinks(ctx, add)
	g.healthOfGateways(ctx, add)
	switch text, synchronised, known := kernelClock(); {
	case !known: // a hardened unit may not ask
	case synchronised:
		add("Clock", "kernel", "ok", text, "")
	default:
		add("Clock", "kernel", "warn", text, "Run a time service (chrony, systemd-timesyncd): windows end by this clock, and certificates are dated by it.")
	}
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err == nil {
		room := lim.Cur / fdsPerSession
		if want := uint64(g.conf.Limits.Connections); room < want { //nolint:gosec // checked to be positive
			add("Limits", "open files", "warn", fmt.Sprintf("The limit of %d is enough for about %d sessions, and limits.connections is %d.", lim.Cur, room, want), "LimitNOFILE= in the systemd unit, or a smaller limits.connections.")
		} else {
			add("Limits", "open files", "ok", fmt.Sprintf("The limit of %d is enough for about %d sessions.", lim.Cur, room), "")
		}
	}
	if n := len(g.authority.UserCAKeys()); n > 1 {
		add("Keys", "user CA", "warn", "A rotation is under way: hosts should list both keys.", "`jit-gateway target check` tells which hosts accept the one that signs; then `ca rotate user --activate` or `ca retire user`.")
	}
}

// behindMany is from where a copy of the log is not just a moment behind.
const behindMany = 1000

func (g *gateway) healthOfSinks(ctx context.Context, add addHealth) {
	last, err := g.db.LastSeq(ctx)
	if err != nil {
		return // said already
	}
	for _, s := range g.conf.Sinks {
		at, err := g.db.Cursor(ctx, "sink:"+s.Name)
		if err != nil {
			add("Copies of the log", s.Name, "fail", err.Error(), "")
			continue
		}
		if behind := last - at; behind > behindMany {
			add("Copies of the log", s.Name, "warn", fmt.Sprintf("It is %d events behind.", behind), "The gateway's log says why (\"sink is behind\").")
		} else {
			add("Copies of the log", s.Name, "ok", fmt.Sprintf("%d events behind.", behind), "")
		}
	}
	if len(g.conf.Sinks) == 0 {
		add("Copies of the log", "", "warn", "There is none: without a copy elsewhere, root on this machine could rewrite the audit log unseen.", "Configure `sinks`; docs/audit-log.md says what a copy proves.")
	}
}

// kernelClock asks the kernel whether something disciplines its clock (adjtimex(2)).
func kernelClock() (text string, synchronised, known bool) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	switch {
	case err != nil:
		return "", false, false
	case state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0:
		return "The kernel's clock is not synchronised to anything.", false, true
	}
	return fmt.Sprintf("Synchronised; it may be off by %s.", (time.Duration(t.Maxerror) * time.Microsecond).Round(time.Millisecond)), true, true
}

// healthItems is health for the command interface.
func (g *gateway) healthItems(ctx context.Context) []command.HealthItem {
	var out []command.HealthItem
	for _, h := range g.health(ctx) {
		out = append(out, command.HealthItem(h))
	}
	return out
}
