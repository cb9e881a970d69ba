package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestSystemAlarmFollowsBothClocks(t *testing.T) {
	c := System()
	a, err := c.NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	far := c.Boot() + time.Hour
	for name, set := range map[string]func() error{
		"wall": func() error { return a.Set(c.Now().Add(20*time.Millisecond), far) },
		"boot": func() error { return a.Set(c.Now().Add(time.Hour), c.Boot()+20*time.Millisecond) },
		"past": func() error { return a.Set(time.Unix(-5, 0), -time.Second) },
	} {
		start := time.Now()
		if err := set(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		select {
		case <-a.C():
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: the alarm did not fire", name)
		}
		if took := time.Since(start); took > time.Second || (name != "past" && took < 15*time.Millisecond) {
			t.Errorf("%s: fired after %s", name, took)
		}
		// "past" fires once for each clock; what is left over may fire for nothing.
		if name == "past" {
			time.Sleep(10 * time.Millisecond)
			select {
			case <-a.C():
			default:
			}
		}
	}
}

func TestBootTimeGoesOn(t *testing.T) {
	c := System()
	first := c.Boot()
	time.Sleep(5 * time.Millisecond)
	if d := c.Boot() - first; d < 5*time.Millisecond || d > 5*time.Second {
		t.Errorf("5 ms took %s of boot time", d)
	}
}

func TestSimulatedAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		skew := time.Duration(0)
		c := Skewed(func() time.Duration { return skew })
		a, err := c.NewAlarm()
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		start := time.Now()
		a.Set(c.Now().Add(8*time.Hour), c.Boot()+9*time.Hour)
		a.Set(c.Now().Add(3*time.Hour), c.Boot()+2*time.Hour) // replaces
		<-a.C()
		if d := time.Since(start); d != 2*time.Hour {
			t.Errorf("fired after %s, want 2h", d)
		}
	})
}
