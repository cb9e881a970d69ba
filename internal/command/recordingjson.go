package command

import (
	"jit-gateway/internal/store"
	"jit-gateway/recording"
)

// What --json prints of recordings: every time within a recording and every
// duration is a number of seconds, as in `recording export --format json`. In
// the files themselves they are whole micro- and nanoseconds.

type sealJSON struct {
	recording.Seal
	Duration float64 `json:"duration"`
	Hash     string  `json:"hash"`
}

func sealView(s recording.Seal) *sealJSON { return &sealJSON{s, s.Duration.Seconds(), s.Hash} }

type segmentJSON struct {
	recording.SegmentInfo
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

type reportJSON struct {
	recording.Report
	Duration float64       `json:"duration"`
	Segments []segmentJSON `json:"segments"`
	Problems []any         `json:"problems,omitempty"`
	Seal     *sealJSON     `json:"seal,omitempty"`
}

func reportView(r recording.Report) *reportJSON {
	v := &reportJSON{Report: r, Duration: r.Duration.Seconds(), Segments: []segmentJSON{}}
	for _, s := range r.Segments {
		v.Segments = append(v.Segments, segmentJSON{s, s.From.Seconds(), s.To.Seconds()})
	}
	for _, d := range r.Problems {
		v.Problems = append(v.Problems, recording.DamageJSON(d))
	}
	if r.Sealed {
		v.Seal = sealView(r.Seal)
	}
	return v
}

type hitJSON struct {
	store.LineHit
	At float64 `json:"at"`
}

func hitViews(hits []store.LineHit) []hitJSON {
	out := []hitJSON{}
	for _, h := range hits {
		out = append(out, hitJSON{h, h.At.Seconds()})
	}
	return out
}
