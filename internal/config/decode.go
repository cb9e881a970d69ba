package config

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var yamlLineRE = regexp.MustCompile(`^yaml: line (\d+): `)

// parseYAML reads the one document of a file.
func parseYAML(file string, raw []byte) (*yaml.Node, error) {
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	err := dec.Decode(&doc)
	if err == nil {
		if err = dec.Decode(&more); err == nil {
			return nil, &Error{File: file, Line: more.Line, Msg: "a second document begins here: write everything into one"}
		}
	}
	if !errors.Is(err, io.EOF) {
		e := &Error{File: file, Msg: strings.TrimPrefix(err.Error(), "yaml: ")}
		if m := yamlLineRE.FindStringSubmatch(err.Error()); m != nil {
			e.Line, _ = strconv.Atoi(m[1])
			e.Msg = strings.TrimPrefix(err.Error(), m[0])
		}
		return nil, e
	}
	return &doc, nil
}

// decoder fills Go values from YAML nodes. It differs from the library's own
// decoding in that every error, also one of a type's UnmarshalText, knows its
// line and its field path, and that all errors are found in one pass.
type decoder struct {
	file string
	errs []*Error
}

func (d *decoder) fail(n *yaml.Node, field, format string, args ...any) {
	d.errs = append(d.errs, &Error{File: d.file, Line: n.Line, Field: field, Msg: fmt.Sprintf(format, args...)})
}

// joined is every error found, as one.
func (d *decoder) joined() error {
	all := make([]error, len(d.errs))
	for i, e := range d.errs {
		all[i] = e
	}
	return errors.Join(all...)
}

// forget drops what was found wrong after the first n errors, which are about
// the file's shape, where it only follows from one of them: a field that could
// not be read looks like one that is missing. The rest is put in the order of
// the file.
func (d *decoder) forget(n int) {
	shape := d.errs[:n]
	d.errs = append(slices.Clone(shape), slices.DeleteFunc(slices.Clone(d.errs[n:]), func(e *Error) bool {
		return slices.ContainsFunc(shape, func(s *Error) bool { return within(e.Field, s.Field) || within(s.Field, e.Field) })
	})...)
	slices.SortStableFunc(d.errs, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
}

// within reports whether a field path is another one or lies below it.
func within(field, above string) bool {
	rest, ok := strings.CutPrefix(field, above)
	return ok && (above == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

var durationType = reflect.TypeFor[time.Duration]()

func (d *decoder) value(n *yaml.Node, v reflect.Value, field string, secret bool) {
	if n.Kind == yaml.AliasNode {
		d.fail(n, field, "aliases are not supported: write the value out")
		return
	}
	if n.Tag == "!!null" && n.Kind == yaml.ScalarNode {
		return // an empty value leaves the default
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem(), field, secret)
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if d.scalar(n, field, "one value") {
			d.text(n, u, field)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, field)
	case reflect.Slice:
		d.list(n, v, field, secret)
	case reflect.Map:
		d.mapping(n, v, field, secret)
	case reflect.String:
		if d.scalar(n, field, "text") {
			if secret {
				d.secret(n, field)
			}
			v.SetString(n.Value)
		}
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
			d.fail(n, field, "%s is not true or false", shown(n))
			return
		}
		v.SetBool(n.Value == "true" || n.Value == "True" || n.Value == "TRUE")
	case reflect.Int, reflect.Int64:
		d.number(n, v, field)
	default:
		panic("config: no decoding for " + v.Type().String())
	}
}

// text reads a value that knows how it is written. Addresses and networks are
// of the standard library, whose errors speak to programmers; an address may
// stand for the network that is it alone.
func (d *decoder) text(n *yaml.Node, u encoding.TextUnmarshaler, field string) {
	err := u.UnmarshalText([]byte(n.Value))
	if err == nil {
		return
	}
	switch u := u.(type) {
	case *netip.Prefix:
		if a, aerr := netip.ParseAddr(n.Value); aerr == nil && a.Zone() == "" {
			*u = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
			return
		}
		d.fail(n, field, "%q is not a network such as 192.0.2.0/24, nor an address", n.Value)
	case *netip.Addr:
		d.fail(n, field, "%q is not an address such as 192.0.2.7", n.Value)
	default:
		d.fail(n, field, "%v", err)
	}
}

func (d *decoder) scalar(n *yaml.Node, field, want string) bool {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, field, "needs %s, not %s", want, shown(n))
		return false
	}
	return true
}

func (d *decoder) number(n *yaml.Node, v reflect.Value, field string) {
	if !d.scalar(n, field, "a number") {
		return
	}
	if v.Type() == durationType {
		dur, err := time.ParseDuration(n.Value)
		if err != nil {
			d.fail(n, field, "%q is not a duration: write it like 90s, 30m or 8h", n.Value)
			return
		}
		v.SetInt(int64(dur))
		return
	}
	i, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil {
		d.fail(n, field, "%q is not a whole number", n.Value)
		return
	}
	v.SetInt(i)
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, field string) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, field, "needs fields, not %s", shown(n))
		return
	}
	index := map[string]reflect.StructField{}
	var known []string
	for f := range v.Type().Fields() {
		if name := f.Tag.Get("yaml"); name != "" && name != "-" {
			index[name] = f
			known = append(known, name)
		}
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		path := join(field, key.Value)
		f, ok := index[key.Value]
		if !ok {
			d.fail(key, path, "unknown field%s", suggest(key.Value, known))
			continue
		}
		if line, dup := seen[key.Value]; dup {
			d.fail(key, path, "given twice, first on line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		d.value(val, v.FieldByIndex(f.Index), path, f.Tag.Get("secret") == "ref")
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, field string, secret bool) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, field, "needs a list such as [a, b], not %s", shown(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.value(item, out.Index(i), fmt.Sprintf("%s[%d]", field, i), secret)
	}
	v.Set(out)
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, field string, secret bool) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, field, "needs key: value pairs, not %s", shown(n))
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		elem := reflect.New(v.Type().Elem()).Elem()
		k := reflect.ValueOf(key).Convert(v.Type().Key())
		if out.MapIndex(k).IsValid() {
			d.fail(n.Content[i], join(field, key), "given twice")
			continue
		}
		d.value(n.Content[i+1], elem, join(field, key), secret)
		out.SetMapIndex(k, elem)
	}
	v.Set(out)
}

// secret refuses anything but a reference, and does not repeat the value.
func (d *decoder) secret(n *yaml.Node, field string) {
	if n.Value != "" && !IsReference(n.Value) {
		d.fail(n, field, "secrets are not written here: say file:/path, env:NAME or credential:NAME, and put the secret there")
	}
}

func validJSON(s string) bool { return json.Valid([]byte(s)) }

func shown(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "fields"
	case yaml.SequenceNode:
		return "a list"
	}
	return strconv.Quote(n.Value)
}

func join(field, key string) string {
	if field == "" {
		return key
	}
	return field + "." + key
}

// suggest names the closest known field, or lists them all.
func suggest(got string, known []string) string {
	best, dist := "", 3
	for _, k := range known {
		if n := distance(got, k); n < dist {
			best, dist = k, n
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	slices.Sort(known)
	return "; known here: " + strings.Join(known, ", ")
}

// distance is Levenshtein's, over bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
