package config

import "reflect"

// reloads are the fields that a running gateway takes over.
var reloads = map[string]bool{"targets": true, "sources": true, "trust": true, "rules": true}

// NeedRestart names the fields that differ and that a reload leaves as they
// were at the start.
func NeedRestart(running, file *Config) []string {
	var out []string
	a, b := reflect.ValueOf(running).Elem(), reflect.ValueOf(file).Elem()
	for f := range a.Type().Fields() {
		name := f.Tag.Get("yaml")
		if name == "" || name == "-" || reloads[name] {
			continue
		}
		if !reflect.DeepEqual(a.FieldByIndex(f.Index).Interface(), b.FieldByIndex(f.Index).Interface()) {
			out = append(out, name)
		}
	}
	return out
}
