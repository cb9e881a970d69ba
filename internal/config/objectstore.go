package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"jit-gateway/recording/objects"
)

// S3 is an S3-compatible object store for sealed recordings.
type S3 struct {
	Endpoint   string     `yaml:"endpoint"` // https://host[:port]
	Bucket     string     `yaml:"bucket"`
	Prefix     string     `yaml:"prefix"` // of every key, such as gw1/
	Region     string     `yaml:"region"` // us-east-1 if empty
	AccessKey  string     `yaml:"access_key" secret:"ref"`
	SecretKey  string     `yaml:"secret_key" secret:"ref"`
	CAFile     string     `yaml:"ca_file"`     // who may sign the store's certificate; system roots if empty
	Spool      Size       `yaml:"spool"`       // what may wait for the store; beyond it no session begins
	Cache      Size       `yaml:"cache"`       // local copies kept beside the store
	ObjectLock ObjectLock `yaml:"object_lock"` // off if no mode is given
}

// ObjectLock makes the store refuse deletion until a recording's retention
// ends.
type ObjectLock struct {
	Mode string `yaml:"mode"` // governance or compliance
	Days int    `yaml:"days"` // for recordings that their rule keeps for ever
}

// Size is a number of bytes, written like 500MiB or 20GiB.
type Size int64

var sizeUnits = []struct {
	name string
	n    int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(strings.TrimSpace(string(text)), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.n {
			break
		}
		*s = Size(n * u.n)
		return nil
	}
	return fmt.Errorf("%q is not a size: write 500MiB or 20GiB", text)
}

func (c *Config) completeS3(abs func(string) string) {
	s := c.Recording.S3
	if s == nil {
		return
	}
	s.CAFile = abs(s.CAFile)
	if s.Spool == 0 {
		s.Spool = 10 << 30
	}
}

func checkS3(c *Config, bad func(string, string, ...any)) {
	s := c.Recording.S3
	if s == nil {
		return
	}
	if _, err := objects.CheckEndpoint(s.Endpoint); err != nil {
		bad("recording.s3.endpoint", "%v", err)
	}
	if s.Bucket == "" {
		bad("recording.s3.bucket", "say which bucket takes the recordings")
	}
	for field, v := range map[string]string{"access_key": s.AccessKey, "secret_key": s.SecretKey} {
		if v == "" {
			bad("recording.s3."+field, "say where it is kept, such as file:/etc/jit-gateway/s3.%s", field)
		}
	}
	if strings.HasPrefix(s.Prefix, "/") || strings.Contains(s.Prefix, "..") || strings.ContainsAny(s.Prefix, "\x00\n\r") {
		bad("recording.s3.prefix", "%q is not the beginning of a key, such as gw1/", s.Prefix)
	}
	switch l := s.ObjectLock; {
	case l.Mode == "" && l.Days != 0:
		bad("recording.s3.object_lock.mode", `say "governance" or "compliance"`)
	case l.Mode == "":
	case l.Mode != objects.Governance && l.Mode != objects.Compliance:
		bad("recording.s3.object_lock.mode", `%q: say "governance" or "compliance"`, l.Mode)
	case l.Days < 1 || l.Days > 36500:
		bad("recording.s3.object_lock.days", "%d: for how many days (1 to 36500) are recordings locked that their rule keeps for ever?", l.Days)
	}
}
