package approval

import (
	"encoding/json"
	"time"

	"jit-gateway/approval/policy"
)

// In JSON a duration is what rules and command lines say: "1h30m". Stores and
// evidence packs of before have nanoseconds, which are read all the same.
//
// Digests are over the older form, which the plain types below still have:
// what was approved keeps its digest.
//
// A struct that embeds one of these gets its MarshalJSON with it, and must
// have one of its own for what it adds.

type (
	plainRequest Request
	plainVote    Vote
	plainGrant   Grant
)

// spoken is a duration that is written as text and read as text or number.
type spoken time.Duration

// MarshalJSON implements json.Marshaler.
func (d spoken) MarshalJSON() ([]byte, error) { return json.Marshal(policy.Duration(d).String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *spoken) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '"' {
		return json.Unmarshal(b, (*int64)(d))
	}
	var v policy.Duration
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*d = spoken(v)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (r Request) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		plainRequest
		Duration spoken `json:"duration"`
	}{plainRequest(r), spoken(r.Duration)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Request) UnmarshalJSON(b []byte) error {
	v := struct {
		*plainRequest
		Duration *spoken `json:"duration"`
	}{(*plainRequest)(r), (*spoken)(&r.Duration)}
	return json.Unmarshal(b, &v)
}

// MarshalJSON implements json.Marshaler.
func (v Vote) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		plainVote
		Duration spoken `json:"duration,omitempty"`
	}{plainVote(v), spoken(v.Duration)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *Vote) UnmarshalJSON(b []byte) error {
	x := struct {
		*plainVote
		Duration *spoken `json:"duration"`
	}{(*plainVote)(v), (*spoken)(&v.Duration)}
	return json.Unmarshal(b, &x)
}

// MarshalJSON implements json.Marshaler.
func (g Grant) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		plainGrant
		Duration spoken `json:"duration"`
	}{plainGrant(g), spoken(g.Duration)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (g *Grant) UnmarshalJSON(b []byte) error {
	v := struct {
		*plainGrant
		Duration *spoken `json:"duration"`
	}{(*plainGrant)(g), (*spoken)(&g.Duration)}
	return json.Unmarshal(b, &v)
}

func plain(votes []Vote) []plainVote {
	if votes == nil {
		return nil
	}
	out := make([]plainVote, len(votes))
	for i, v := range votes {
		out[i] = plainVote(v)
	}
	return out
}
