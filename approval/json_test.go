package approval

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval/policy"
)

// What was approved keeps its digest whatever its JSON looks like to people:
// these were made when durations were numbers.
func TestDigestsAreForEver(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	votes := []Vote{{UserID: "U2", Person: "U2", User: "bob", Duration: 30 * time.Minute, Digest: "d", At: at}}
	r := Request{ID: "R1", UserID: "U1", User: "alice", Targets: []string{"web01"}, Login: "deploy", Reason: "why", Duration: 90 * time.Minute, Rule: "web",
		RuleHash: "h", TargetHashes: map[string]string{"web01": "t"}, FiledAt: at, ExpiresAt: at.Add(time.Hour), State: Pending, Version: 1}
	g := Grant{ID: "G1", RequestID: "R1", RequestDigest: r.Digest(), UserID: "U1", User: "alice", Targets: []string{"web01"}, Login: "deploy",
		Duration: 30 * time.Minute, Rule: policy.Rule{Name: "web"}, RuleHash: "h", Votes: votes, ApprovedAt: at, State: Waiting}
	if got := r.Digest(); got != "77fd9e4c60de04aedac044ee0e7b4b363dd76c61e25eceed19198bc02ce6d6c2" {
		t.Errorf("request: %s", got)
	}
	if got := g.Digest(); got != "59429eadc2fce6b553a79f7fafd1e3abe04219407387818b64036633a91f0755" {
		t.Errorf("grant: %s", got)
	}
	r.Votes = votes
	for name, c := range map[string]struct {
		v    any
		want string
		back func([]byte) (any, error)
	}{
		"request": {r, `"duration":"1h30m"`, func(b []byte) (any, error) { var x Request; err := json.Unmarshal(b, &x); return x, err }},
		"grant":   {g, `"duration":"30m"`, func(b []byte) (any, error) { var x Grant; err := json.Unmarshal(b, &x); return x, err }},
	} {
		b, err := json.Marshal(c.v)
		if err != nil {
			t.Fatal(err)
		}
		if s := string(b); !strings.Contains(s, c.want) || strings.Contains(s, "00000000") || !strings.Contains(s, `"duration":"30m"`) {
			t.Errorf("%s: %s", name, s)
		}
		x, err := c.back(b)
		again, err2 := json.Marshal(x)
		if err != nil || err2 != nil || string(again) != string(b) {
			t.Errorf("%s: read back as %s, %v, %v", name, again, err, err2)
		}
		// and as stores and packs of before have it
		old := strings.NewReplacer(`"1h30m"`, "5400000000000", `"duration":"30m"`, `"duration":1800000000000`).Replace(string(b))
		x, err = c.back([]byte(old))
		again, err2 = json.Marshal(x)
		if err != nil || err2 != nil || string(again) != string(b) {
			t.Errorf("%s: the old form is read as %s, %v, %v", name, again, err, err2)
		}
	}
	var bad Request
	if err := json.Unmarshal([]byte(`{"duration":"soon"}`), &bad); err == nil {
		t.Error("a duration that is none")
	}
}
