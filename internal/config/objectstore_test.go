package config

import (
	"strings"
	"testing"
)

const s3 = `name: jit-gateway
recording:
  s3:
    endpoint: https://s3.example
    bucket: recordings
    access_key: env:A
    secret_key: env:B
    ca_file: ca.pem
    cache: 2GiB
    object_lock: {mode: compliance, days: 365}
`

func TestObjectStore(t *testing.T) {
	c, err := Parse("/etc/jit/x.yaml", []byte(s3))
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Recording.S3; s.Spool != 10<<30 || s.Cache != 2<<30 || s.CAFile != "/etc/jit/ca.pem" || s.ObjectLock.Days != 365 {
		t.Errorf("got %+v", s)
	}
	for change, want := range map[string]string{
		"https://s3.example|http://s3.example":                "x.yaml:4: recording.s3.endpoint: ",
		"bucket: recordings|bucket: ''":                       "x.yaml:5: recording.s3.bucket: ",
		"access_key: env:A|access_key: AKIA123":               "x.yaml:6: recording.s3.access_key: secrets are not written here",
		"secret_key: env:B|region: x":                         "recording.s3.secret_key: say where",
		"cache: 2GiB|cache: 2":                                "x.yaml:9: recording.s3.cache: ",
		"cache: 2GiB|cache: 9999999999TiB":                    "x.yaml:9: recording.s3.cache: ",
		"cache: 2GiB|prefix: /x":                              "x.yaml:9: recording.s3.prefix: ",
		"mode: compliance|mode: strong":                       "x.yaml:10: recording.s3.object_lock.mode: ",
		", days: 365|":                                        "x.yaml:10: recording.s3.object_lock.days: ",
		"mode: compliance, |":                                 "recording.s3.object_lock.mode: ",
		"object_lock: {mode: compliance|objectlock: {mode: x": "did you mean \"object_lock\"",
	} {
		from, to, _ := strings.Cut(change, "|")
		_, err := Parse("/etc/jit/x.yaml", []byte(strings.Replace(s3, from, to, 1)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", change, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "AKIA") {
			t.Errorf("the secret is repeated: %v", err)
		}
	}
}
