package config

import (
	"reflect"

	"go.yaml.in/yaml/v3"

	"jit-gateway/internal/inventory"
)

// DecodeTargets reads definitions in the form that the configuration's targets
// have, as a list or under the key "targets"; JSON is YAML. It finds unknown
// fields and wrong types: the rest is checked once the entries are completed.
func DecodeTargets(name string, raw []byte) ([]inventory.Target, error) {
	doc, err := parseYAML(name, raw)
	if err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return nil, &Error{File: name, Msg: "no targets here"}
	}
	d := &decoder{file: name}
	var file struct {
		Targets []inventory.Target `yaml:"targets"`
	}
	if root := doc.Content[0]; root.Kind == yaml.SequenceNode {
		d.value(root, reflect.ValueOf(&file.Targets).Elem(), "", false)
	} else {
		d.value(root, reflect.ValueOf(&file).Elem(), "", false)
	}
	for i := range file.Targets {
		file.Targets[i].Source = name
		inferKind(&file.Targets[i])
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
