// Package source reads targets that are kept elsewhere: a directory of YAML
// files, what `ansible-inventory --list` prints, a CSV file, or a list of JSON
// that an https server gives.
//
// A Syncer reads each source at its interval and keeps what it accepted: in
// memory, and in a file, so that a source that cannot be reached at a restart
// takes nothing away. What a source says is checked whole: one entry that
// cannot work refuses the reading, and the last accepted one stays. So does a
// reading that lacks more than a tenth of what was there before: an empty
// answer of a broken inventory must not end everybody's access. An
// administrator who means it says so (`target sync --accept-loss`).
//
// A source decides where connections go, so it is trusted with that much and
// no more: it names no secrets, and one that is read over the network pins no
// host keys unless its configuration says so. Defaults and Trust, which the
// configuration holds, give what an entry leaves out.
package source

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"time"

	"jit-gateway/internal/inventory"
)

// Kinds of source.
const (
	Files   = "files"   // Path is a glob of YAML files such as targets.d/*.yaml
	Ansible = "ansible" // Path is a file with the output of `ansible-inventory --list`
	CSV     = "csv"     // Path is a file with a header line
	HTTPS   = "https"   // URL answers GET with targets as JSON
)

// Source is one place that targets come from.
type Source struct {
	Name     string           `yaml:"name"`
	Kind     string           `yaml:"kind"`
	Path     string           `yaml:"path"`
	URL      string           `yaml:"url"`
	Token    string           `yaml:"token" secret:"ref"` // sent as a bearer token
	CAFile   string           `yaml:"ca_file"`            // who may sign the server; system roots if empty
	Every    time.Duration    `yaml:"every"`              // how often it is read again; 5m if zero
	MaxLoss  int              `yaml:"max_loss"`           // percent of its targets that one reading may take away; 10 if zero
	Pins     bool             `yaml:"pins"`               // https: accept host keys and host CAs from it
	Defaults inventory.Target `yaml:"defaults"`           // fills what an entry leaves out; {name} is the entry's name
}

const (
	defaultEvery = 5 * time.Minute
	minEvery     = 10 * time.Second
	defaultLoss  = 10
	maxSize      = 16 << 20 // bytes of one reading; 5,000 targets take about 2 MB
	maxTargets   = 100_000  // of one source
)

var nameRE = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// Validate returns what cannot work, by field.
func (s Source) Validate() []*inventory.FieldError {
	var errs []*inventory.FieldError
	bad := func(field, format string, args ...any) {
		errs = append(errs, &inventory.FieldError{Field: field, Msg: fmt.Sprintf(format, args...)})
	}
	if !nameRE.MatchString(s.Name) {
		bad("name", "%q: lower-case letters, digits and hyphens, at most 32", s.Name)
	}
	switch s.Kind {
	case Files, Ansible, CSV:
		if s.Path == "" {
			bad("path", "a source of kind %s needs a path", s.Kind)
		} else if _, err := filepath.Match(s.Path, ""); s.Kind == Files && err != nil {
			bad("path", "%q is not a pattern of file names", s.Path)
		}
	case HTTPS:
		u, err := url.Parse(s.URL)
		if err != nil || u.Host == "" || (u.Scheme != "https" && !(u.Scheme == "http" && (u.Hostname() == "127.0.0.1" || u.Hostname() == "::1"))) {
			bad("url", "%q is not an https:// address", s.URL)
		}
	default:
		bad("kind", `%q: say "files", "ansible", "csv" or "https"`, s.Kind)
	}
	if s.Every != 0 && s.Every < minEvery {
		bad("every", "%s: at least %s", s.Every, minEvery)
	}
	if s.MaxLoss < 0 || s.MaxLoss > 100 {
		bad("max_loss", "%d is not a percentage", s.MaxLoss)
	}
	return errs
}

func (s Source) every() time.Duration {
	if s.Every == 0 {
		return defaultEvery
	}
	return s.Every
}

func (s Source) maxLoss() int {
	if s.MaxLoss == 0 {
		return defaultLoss
	}
	return s.MaxLoss
}

// Problems are why a reading was refused: at most a few are shown.
type Problems []string

func (p Problems) Error() string {
	const most = 10
	err := error(nil)
	for i, msg := range p {
		if i == most {
			err = errors.Join(err, fmt.Errorf("and %d more", len(p)-most))
			break
		}
		err = errors.Join(err, errors.New(msg))
	}
	return err.Error()
}

// check refuses entries that cannot work, and names that are given twice.
func check(list []inventory.Target) error {
	var wrong Problems
	if len(list) > maxTargets {
		return fmt.Errorf("%d targets; a source may have %d", len(list), maxTargets)
	}
	seen := map[string]string{}
	for _, t := range list {
		for _, e := range t.Validate() {
			wrong = append(wrong, fmt.Sprintf("%q: %s", t.Name, e))
		}
		for _, n := range append([]string{t.Name}, t.Aliases...) {
			n = inventory.Normalize(n)
			if by, dup := seen[n]; dup {
				wrong = append(wrong, fmt.Sprintf("%q: the name %q is taken by %q", t.Name, n, by))
			}
			seen[n] = t.Name
		}
	}
	if len(wrong) > 0 {
		return wrong
	}
	return nil
}
