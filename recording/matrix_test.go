package recording

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// trial is one session with one fault at one step.
type trial struct {
	strict bool
	fault  string
	at     int
	seed   uint64 // of what a power loss tears
}

var faults = []string{"kill -9", "power loss", "I/O error", "permission lost", "disk full", "disk stalls"}

// told is what came of a trial.
type told struct {
	step     string // where the fault was
	over     bool   // there is no such step: the session went through
	sentence string // what ended the session, or refused it
	outcome  string // what survived
}

// arm makes the fault happen at a step from now on.
func (m *memFS) arm(name string, at int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.step, m.trace, m.at, m.all = 0, nil, at, true
	m.what = map[string]fault{"kill -9": crash, "power loss": crash, "I/O error": ioErr, "permission lost": denied,
		"disk full": full, "disk stalls": stalled}[name]
	m.stall = make(chan struct{})
}

// repair ends the fault; it returns the name of the step that had it.
func (m *memFS) repair() (step string, happened bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	happened = m.step >= m.at
	if happened {
		step = m.trace[m.at-1]
	}
	m.at = 0
	return step, happened
}

// hook makes a call to the audit log a step as well.
func (m *memFS) hook(step string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.what == stalled { // the disk, not the store
		m.step++
		m.trace = append(m.trace, step)
		return nil
	}
	happens, err := m.do(step)
	if err != nil {
		return err
	}
	if happens == ioErr {
		return errors.New("the store does not answer")
	}
	return nil
}

// concerns reports whether a fault can happen at a step at all.
func concerns(fault, step string) bool {
	switch fault {
	case "disk stalls":
		return !strings.HasPrefix(step, "log ")
	case "disk full":
		return strings.HasPrefix(step, "write ") || strings.HasPrefix(step, "create ")
	case "permission lost":
		return strings.HasPrefix(step, "write ") || strings.HasPrefix(step, "create ") || strings.HasPrefix(step, "remove ")
	}
	return true
}

// play records a session of small events, bursts and several segments, with
// the fault, and lets the gateway start again where it has to.
func (c trial) play(t *testing.T) told {
	t.Helper()
	m := newMemFS()
	disk := m // another one after a crash
	hooks := DirOptions{fs: m, Reserve: 1 << 10,
		OnSegment: func(Header, SegmentInfo) error { return disk.hook("log a segment's hash") },
		OnSealed:  func(Header, Seal) error { return disk.hook("log the seal") }}
	d, err := OpenDir("", hooks)
	if err != nil {
		t.Fatal(err)
	}
	m.arm(c.fault, c.at)
	var sent []string
	released, acked := 0, 0
	failed := make(chan error, 1)
	w, failure := d.Create(Header{Session: "S1"}, Options{Strict: c.strict, OnFailed: func(err error) { failed <- err }})
	refused := failure != nil
	say := func(p string) bool {
		sent = append(sent, p)
		failure = w.Output(1, 1, []byte(p))
		if failure != nil {
			return false
		}
		released = len(sent)
		synctest.Wait() // so that each run is like the last
		if !c.strict {
			if failure = w.Flush(); failure != nil {
				return false
			}
			synctest.Wait()
		}
		acked = released
		return true
	}
	nudge := func(f func()) { // the worker, as size or age would
		w.mu.Lock()
		f()
		w.kick()
		w.mu.Unlock()
		synctest.Wait()
	}
	for i := 0; i < 7 && failure == nil; i++ {
		if !say(fmt.Sprintf("event %d\r\n", i)) {
			break
		}
		switch i {
		case 1, 4: // as if a burst had filled the buffer
			sent = append(sent, "burst")
			if failure = w.Output(1, 1, []byte("burst")); failure == nil {
				released = len(sent)
				nudge(w.cut)
			}
		case 3:
			nudge(func() { w.close = true })
		}
	}
	res := told{}
	if failure != nil {
		res.sentence = failure.Error()
	}
	if w != nil && failure != nil {
		select {
		case <-failed:
		default:
			t.Errorf("%+v: %v, but OnFailed is not told", c, failure)
		}
	}
	var sealErr error
	if w != nil {
		_, sealErr = w.Seal("logout")
	}
	how := "sealed at once"
	var happened bool
	if res.step, happened = m.repair(); !happened {
		if failure != nil || sealErr != nil {
			t.Fatalf("%+v: no fault, and %v, %v", c, failure, sealErr)
		}
		res.over = true
		return res
	}
	if c.fault == "disk stalls" {
		close(m.stall)
		synctest.Wait() // who was left in the call comes back
	}
	switch c.fault {
	case "kill -9":
		disk = m.afterKill()
	case "power loss":
		disk = m.afterCrash(rand.New(rand.NewPCG(uint64(c.at), c.seed)))
	}
	if disk != m || sealErr != nil || refused {
		how = "sealed at the restart"
		hooks.fs = disk
		if d, err = OpenDir("", hooks); err != nil {
			t.Fatal(err)
		}
		if !refused {
			// A reader that comes before recovery sees what recovery will seal.
			if n := len(intact(t, d)); n < acked {
				t.Errorf("%+v: %d events were acknowledged, a reader before recovery sees %d", c, acked, n)
			}
		}
		if _, err := d.Recover(context.Background(), "S1"); err != nil && !(refused && errors.Is(err, ErrNotBegun)) {
			t.Fatalf("%+v: recover: %v", c, err)
		}
	}
	if refused {
		res.outcome = "no session begins"
		return res
	}
	got := dataOf(t, d, nil) // fails unless it is sealed and verifies
	if len(got) > len(sent) || len(got) < acked {
		t.Fatalf("%+v: %d events were sent, %d acknowledged, %d are in the recording", c, len(sent), acked, len(got))
	}
	for i := range got {
		if got[i] != sent[i] {
			t.Fatalf("%+v: event %d is %.40q, was %.40q", c, i, got[i], sent[i])
		}
	}
	res.outcome = "all, " + how
	if len(got) < released {
		res.outcome = "to the last commit, " + how
	}
	return res
}

// intact is what a reader sees up to the first damage.
func intact(t *testing.T, d *Dir) []string {
	t.Helper()
	r, err := d.Open("S1")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []string
	for ev, err := range r.Events() {
		if err != nil {
			break
		}
		out = append(out, string(ev.Data))
	}
	return out
}

// recoverWith interrupts the recovery of a crashed session at a step, and
// repeats it.
func recoverWith(t *testing.T, fault string, at int, seed uint64) told {
	t.Helper()
	m := newMemFS()
	d, err := OpenDir("", DirOptions{fs: m, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Create(Header{Session: "S1"}, Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"one", "two", "three", "four"}
	for i, p := range want {
		if err := w.Output(1, 1, []byte(p)); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			w.mu.Lock()
			w.cut()
			w.kick()
			w.mu.Unlock()
		}
		synctest.Wait()
	}
	disk := m.afterKill()
	open := func() {
		d, err = OpenDir("", DirOptions{fs: disk, Reserve: 1 << 10, OnSegment: func(Header, SegmentInfo) error { return disk.hook("log a segment's hash") },
			OnSealed: func(Header, Seal) error { return disk.hook("log the seal") }})
		if err != nil {
			t.Fatal(err)
		}
	}
	restart := func() error {
		_, err := d.Recover(context.Background(), "S1")
		return err
	}
	open()
	disk.arm(fault, at)
	if fault == "disk stalls" {
		stall := disk.stall
		defer time.AfterFunc(time.Minute, func() { close(stall) }).Stop()
	}
	first := restart()
	step, happened := disk.repair()
	if !happened {
		return told{over: true}
	}
	switch fault {
	case "kill -9":
		disk = disk.afterKill()
	case "power loss":
		disk = disk.afterCrash(rand.New(rand.NewPCG(uint64(at), seed)))
	}
	res := told{step: "recovery: " + step, outcome: "all, sealed when repeated"}
	if first == nil {
		res.outcome = "all, sealed"
		if fault == "disk stalls" {
			res.outcome = "all, sealed when it answers"
		}
	} else {
		res.sentence = first.Error()
	}
	open()
	if err := restart(); err != nil {
		t.Fatalf("%s at step %d of recovery: %v", fault, at, err)
	}
	if got := dataOf(t, d, nil); !slices.Equal(got, want) {
		t.Fatalf("%s at step %d of recovery: %d events of %d", fault, at, len(got), len(want))
	}
	w.Seal("logout") //nolint:errcheck // the process that was killed
	return res
}

// TestG9FaultMatrix plays a session with each fault at each of its steps, in
// both modes. Whatever happens, no event is in the recording that was not
// recorded, none is missing that was acknowledged, and the recording is sealed
// and verifies, at once or at the restart. What survived is the table in
// docs/recording-faults.md, which this test writes with -update.
func TestG9FaultMatrix(t *testing.T) {
	calmEncoder() // made outside the bubbles
	bulkEncoder()
	decoders()
	compress(nil, bytes.Repeat([]byte("warm"), 100), time.Second)
	compress(nil, bytes.Repeat([]byte("warm"), chunkSize), time.Second)
	x := &matrix{cells: map[[2]string][]string{}, says: map[string][]string{}}
	run := func(fault, mode string, play func(t *testing.T, at int, seed uint64) told) {
		steps, seeds := 0, uint64(1)
		if fault == "power loss" {
			seeds = 4
		}
		for over := false; !over; steps++ {
			for seed := range seeds {
				var r told
				synctest.Test(t, func(t *testing.T) { r = play(t, steps+1, seed) })
				if t.Failed() {
					t.FailNow()
				}
				if over = r.over; over {
					break
				}
				x.add(r, fault, mode)
			}
		}
		if steps < 8 {
			t.Errorf("%s, %s: only %d steps", fault, mode, steps)
		}
	}
	for _, strict := range []bool{true, false} {
		for _, fault := range faults {
			mode := "interval|"
			if strict {
				mode = "strict|"
			}
			run(fault, mode, func(t *testing.T, at int, seed uint64) told { return trial{strict, fault, at, seed}.play(t) })
		}
	}
	for _, fault := range faults {
		run(fault, "strict|", func(t *testing.T, at int, seed uint64) told { return recoverWith(t, fault, at, seed) })
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| step | %s |\n|---|%s\n", strings.Join(faults, " | "), strings.Repeat("---|", len(faults)))
	for _, step := range x.steps {
		fmt.Fprintf(&b, "| %s |", step)
		for _, fault := range faults {
			fmt.Fprintf(&b, " %s |", x.cell(step, fault))
		}
		b.WriteByte('\n')
	}
	b.WriteString("\n| fault | what ends or refuses the session |\n|---|---|\n")
	for _, fault := range faults[2:] {
		slices.Sort(x.says[fault])
		fmt.Fprintf(&b, "| %s | %s |\n", fault, strings.Join(x.says[fault], "<br>"))
	}
	checkTable(t, "../docs/recording-faults.md", "fault matrix", b.String())
}
