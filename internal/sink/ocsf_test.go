package sink

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/audit"
)

// schema is what testdata/ocsf-1.8.json notes of OCSF.
type schema struct {
	Base     rules
	Profiles map[string][]string
	Classes  map[string]rules
	Types    map[string]string
	Objects  map[string]rules
}

type rules struct {
	Activities []float64
	Required   []string
	Optional   []string
	AtLeastOne []string `json:"at_least_one"`
	Enums      map[string][]float64
	Attributes map[string]string
}

func readSchema(t *testing.T) schema {
	t.Helper()
	b, err := os.ReadFile("testdata/ocsf-1.8.json")
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// validate returns what is wrong with an event as a receiver would get it.
func (s schema) validate(raw []byte) (wrong []string) {
	var o map[string]any
	if err := json.Unmarshal(raw, &o); err != nil {
		return []string{err.Error()}
	}
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	uid, _ := o["class_uid"].(float64)
	class, ok := s.Classes[fmt.Sprint(uid)]
	if !ok {
		return []string{fmt.Sprintf("class_uid %v is not one of the schema's", o["class_uid"])}
	}
	activity, _ := o["activity_id"].(float64)
	if !slices.Contains(append(class.Activities, 0, 99), activity) {
		say("activity_id %v is not one of class %v", activity, uid)
	}
	if o["type_uid"] != uid*100+activity || o["category_uid"] != math.Trunc(uid/1000) {
		say("type_uid %v or category_uid %v does not follow from class %v and activity %v", o["type_uid"], o["category_uid"], uid, activity)
	}
	if activity == 99 && o["activity_name"] == "" {
		say("an activity 99 has no name")
	}
	known := slices.Concat(s.Base.Required, s.Base.Optional, class.Required, class.Optional)
	if m, ok := o["metadata"].(map[string]any); ok {
		list, _ := m["profiles"].([]any)
		for _, p := range list {
			known = append(known, s.Profiles[fmt.Sprint(p)]...)
		}
	}
	enums := map[string][]float64{}
	for _, from := range []map[string][]float64{s.Base.Enums, class.Enums} {
		for k, v := range from {
			enums[k] = v
		}
	}
	s.members("", o, rules{Required: append(slices.Clone(s.Base.Required), class.Required...), AtLeastOne: class.AtLeastOne, Enums: enums}, known, s.Types, say)
	return wrong
}

func (s schema) members(path string, o map[string]any, r rules, known []string, types map[string]string, say func(string, ...any)) {
	for _, k := range r.Required {
		if o[k] == nil {
			say("%s%s is required", path, k)
		}
	}
	if len(r.AtLeastOne) > 0 && !slices.ContainsFunc(r.AtLeastOne, func(k string) bool { return o[k] != nil }) {
		say("%sone of %s is required", path, strings.Join(r.AtLeastOne, ", "))
	}
	for k, v := range o {
		if !slices.Contains(known, k) {
			say("%s%s is no attribute there", path, k)
			continue
		}
		if enum := r.Enums[k]; enum != nil {
			if n, ok := v.(float64); !ok || !slices.Contains(enum, n) {
				say("%s%s is %v, which is not in its enumeration", path, k, v)
			}
		}
		s.value(path+k, v, types[k], say)
	}
}

func (s schema) value(path string, v any, typ string, say func(string, ...any)) {
	ok := true
	switch typ {
	case "anything":
	case "integer":
		n, is := v.(float64)
		ok = is && n == math.Trunc(n)
	case "string":
		text, is := v.(string)
		ok = is && text != ""
	case "ip":
		text, is := v.(string)
		_, err := netip.ParseAddr(text)
		ok = is && err == nil
	case "strings", "entities":
		list, is := v.([]any)
		ok = is && len(list) > 0
		for i, x := range list {
			s.value(fmt.Sprintf("%s[%d]", path, i), x, map[string]string{"strings": "string", "entities": "entity"}[typ], say)
		}
	default:
		object, known := s.Objects[typ]
		o, is := v.(map[string]any)
		if ok = known && is; ok {
			var names []string
			for k := range object.Attributes {
				names = append(names, k)
			}
			s.members(path+".", o, object, names, object.Attributes, say)
		}
	}
	if !ok {
		say("%s is %v, not of type %q", path, v, typ)
	}
}

// TestOCSFValidates maps every type of event, with all that it may have and
// with as little as it may have, and holds each against the schema.
func TestOCSFValidates(t *testing.T) {
	s := readSchema(t)
	used := map[string]bool{}
	full := audit.Event{Seq: 7, ID: "E7", Time: time.Unix(1700000000, 0), Outcome: audit.Success, Actor: audit.Actor{ID: "U1", Name: "alice", Source: "192.0.2.7", Via: "ssh"},
		User: "U2", Target: "orders", Request: "R1", Grant: "G1", Session: "S1", Reason: "why", Detail: map[string]string{"user": "bob", "login": "deploy", "code": "new_place"}}
	for typ := range classes {
		for _, proto := range []string{"ssh", "postgres"} {
			for _, outcome := range []audit.Outcome{audit.Success, audit.Failure, audit.Denied} {
				for _, e := range []audit.Event{full, {ID: "E8", Time: time.Unix(1700000000, 0)}} {
					e.Type, e.Outcome = typ, outcome
					e.Detail = map[string]string{"protocol": proto}
					for k, v := range full.Detail {
						if e.Target != "" {
							e.Detail[k] = v
						}
					}
					b, err := json.Marshal(OCSF(e, "1.0"))
					if err != nil {
						t.Fatal(err)
					}
					if wrong := s.validate(b); len(wrong) > 0 {
						slices.Sort(wrong)
						t.Errorf("%s, %s, %s: %s\n%s", typ, proto, outcome, strings.Join(wrong, "; "), b)
					}
					var o struct {
						Class    int `json:"class_uid"`
						Unmapped map[string]any
					}
					if err := json.Unmarshal(b, &o); err != nil {
						t.Fatal(err)
					}
					used[fmt.Sprint(o.Class)] = true
					if e.Session != "" && (o.Unmapped["session"] != "S1" || o.Unmapped["login"] != "deploy") {
						t.Errorf("%s: what has no place in the class is lost: %s", typ, b)
					}
				}
			}
		}
	}
	for class := range s.Classes {
		if !used[class] {
			t.Errorf("class %s is noted down and not used", class)
		}
	}
}

// TestSchemaRefuses: the check itself finds what is wrong.
func TestSchemaRefuses(t *testing.T) {
	s := readSchema(t)
	for _, c := range []struct {
		change func(o map[string]any)
		says   string
	}{
		{func(o map[string]any) { delete(o, "user") }, "user is required"},
		{func(o map[string]any) { delete(o, "service") }, "one of service, dst_endpoint is required"},
		{func(o map[string]any) { o["activity_id"] = 6 }, "activity_id 6 is not one of class 3002"},
		{func(o map[string]any) { o["type_uid"] = 300199 }, "does not follow"},
		{func(o map[string]any) { o["severity_id"] = 7 }, "not in its enumeration"},
		{func(o map[string]any) { o["colour"] = "red" }, "colour is no attribute there"},
		{func(o map[string]any) { o["user"] = map[string]any{} }, "user.one of account, name, uid is required"},
		{func(o map[string]any) { o["src_endpoint"] = map[string]any{"ip": "here"} }, "src_endpoint.ip is here"},
		{func(o map[string]any) { o["class_uid"] = 1 }, "not one of the schema's"},
		{func(o map[string]any) { o["time"] = "now" }, "time is now"},
	} {
		o := OCSF(audit.Event{Type: audit.LoginPassed, ID: "E1", Outcome: audit.Success, Actor: audit.Actor{Name: "alice", Source: "192.0.2.7"}}, "1.0")
		c.change(o)
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if wrong := strings.Join(s.validate(b), "; "); !strings.Contains(wrong, c.says) {
			t.Errorf("found %q, want %q", wrong, c.says)
		}
	}
}
