package command

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/store"
	"jit-gateway/recording"
)

// TestRecordingTimesAreSeconds: a program that reads --json finds one unit.
func TestRecordingTimesAreSeconds(t *testing.T) {
	seal := recording.Seal{Session: "S1", Duration: 90 * time.Second, Hash: "ab"}
	report := recording.Report{Sealed: true, Duration: 90 * time.Second, Seal: seal,
		Segments: []recording.SegmentInfo{{From: time.Second, To: 1500 * time.Millisecond}},
		Problems: []recording.Damage{{From: 2 * time.Second, What: "x"}}}
	for name, c := range map[string]struct {
		v    any
		want []string
	}{
		"list":   {recordingJSON{Seal: sealView(seal)}, []string{`"duration":90`, `"hash":"ab"`}},
		"verify": {reportView(report), []string{`"duration":90`, `"from":1`, `"to":1.5`, `"from":2`, `"what":"x"`}},
		"search": {hitViews([]store.LineHit{{Session: "S1", At: 250 * time.Millisecond}}), []string{`"at":0.25`, `"session":"S1"`}},
		"event":  {recording.EventJSON(recording.Event{T: time.Second, Payload: recording.SQL{Statement: "select 1", Duration: time.Millisecond}}), []string{`"t":1`, `"duration":0.001`, `"statement":"select 1"`}},
	} {
		b, err := json.Marshal(c.v)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range c.want {
			if !strings.Contains(string(b), w) {
				t.Errorf("%s: %s is not in %s", name, w, b)
			}
		}
		if strings.Contains(string(b), "000000") {
			t.Errorf("%s has nanoseconds: %s", name, b)
		}
	}
}
