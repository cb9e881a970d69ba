package config

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"jit-gateway/internal/inventory"
)

// ParseTargets reads definitions in the form that the configuration's targets
// have, as a list or under the key "targets". JSON is YAML. complete, if not
// nil, may fill what is left out before the definitions are checked.
func ParseTargets(name string, raw []byte, complete func(*inventory.Target)) ([]inventory.Target, error) {
	return parseTargets(name, raw, complete, true)
}

// DecodeTargets is ParseTargets for entries that are completed elsewhere: it
// finds unknown fields and wrong types, and checks nothing else.
func DecodeTargets(name string, raw []byte) ([]inventory.Target, error) {
	return parseTargets(name, raw, nil, false)
}

func parseTargets(name string, raw []byte, complete func(*inventory.Target), check bool) ([]inventory.Target, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, &Error{File: name, Msg: strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	if len(doc.Content) == 0 {
		return nil, &Error{File: name, Msg: "no targets here"}
	}
	d := &decoder{file: name}
	var file struct {
		Targets []inventory.Target `yaml:"targets"`
	}
	root, prefix := doc.Content[0], "targets"
	if root.Kind == yaml.SequenceNode {
		d.value(root, reflect.ValueOf(&file.Targets).Elem(), "", false)
		prefix = ""
	} else {
		d.value(root, reflect.ValueOf(&file).Elem(), "", false)
	}
	for i := range file.Targets {
		t := &file.Targets[i]
		t.Source = name
		inferKind(t)
		if complete != nil {
			complete(t)
		}
		if !check {
			continue
		}
		for _, e := range t.Validate() {
			field := fmt.Sprintf("%s[%d].%s", prefix, i, e.Field)
			d.fail(locate(&doc, field), field, "%s", e.Msg)
		}
	}
	if len(d.errs) > 0 {
		return nil, d.joined()
	}
	return file.Targets, nil
}

// inferKind fills Kind from the block that is there.
func inferKind(t *inventory.Target) {
	switch {
	case t.Kind != "":
	case t.SSH != nil:
		t.Kind = inventory.SSH
	case t.Postgres != nil:
		t.Kind = inventory.Postgres
	}
}
