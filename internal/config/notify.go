package config

import (
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Notify says who is told what, and how.
type Notify struct {
	// Expiring is how long before its end the user of a grant is told.
	Expiring time.Duration `yaml:"expiring"`
	Channels []Channel     `yaml:"channels"`
}

// Channel is one way to tell people.
type Channel struct {
	Name  string   `yaml:"name"`
	Kind  string   `yaml:"kind"`  // webhook, slack, mail
	About []string `yaml:"about"` // what it is told; everything if empty

	URL     string         `yaml:"url"`                     // webhook, slack
	URLFrom string         `yaml:"url_from" secret:"ref"`   // the same, kept elsewhere: a chat's address is a secret
	Secret  string         `yaml:"secret" secret:"ref"`     // webhook: signs by the Standard Webhooks scheme
	Allow   []netip.Prefix `yaml:"allow"`                   // webhook, slack: inner networks that it may be in
	Server  string         `yaml:"server"`                  // mail: host:port
	TLS     string         `yaml:"tls"`                     // mail: starttls (default), tls, none
	Clear   bool           `yaml:"clear_text_is_all_right"` // mail: none to a server that is not on this machine
	User    string         `yaml:"user"`                    // mail: AUTH PLAIN
	Pass    string         `yaml:"password" secret:"ref"`
	From    string         `yaml:"from"`    // mail: sender, "name <address>"
	CAFile  string         `yaml:"ca_file"` // who may sign the receiver's certificate; system roots if empty
}

// abouts are the values of Channel.About, as internal/notify has them; a test
// of cmd/jit-gateway holds them equal.
var abouts = []string{"request", "decision", "escalation", "break_glass", "review", "finding", "expiring", "ended", "account", "alarm", "change"}

// Abouts returns what channels can be limited to.
func Abouts() []string { return slices.Clone(abouts) }

func checkNotify(c *Config, bad func(string, string, ...any)) {
	if e := c.Notify.Expiring; e < 0 || e > 24*time.Hour {
		bad("notify.expiring", "%v is not between 0 (never) and 24h", e)
	}
	names := map[string]bool{}
	for i, ch := range c.Notify.Channels {
		at := fmt.Sprintf("notify.channels[%d].", i)
		if !nameRE.MatchString(ch.Name) || names[ch.Name] {
			bad(at+"name", "%q: each channel has a name of its own, of letters, digits, dashes", ch.Name)
		}
		names[ch.Name] = true
		for j, a := range ch.About {
			if !slices.Contains(abouts, a) {
				bad(fmt.Sprintf("%sabout[%d]", at, j), "%q is not one of %s", a, strings.Join(abouts, ", "))
			}
		}
		switch ch.Kind {
		case "webhook", "slack":
			checkHook(ch, at, bad)
		case "mail":
			checkMail(ch, at, bad)
		default:
			bad(at+"kind", `%q: say "webhook", "slack" or "mail"`, ch.Kind)
		}
	}
}

func checkHook(ch Channel, at string, bad func(string, string, ...any)) {
	switch {
	case (ch.URL == "") == (ch.URLFrom == ""):
		bad(at+"url", "give url, or url_from with a reference such as file:/etc/jit-gateway/chat-url, and not both")
	case ch.URL != "":
		checkURL(ch.URL, at+"url", bad)
	}
	if ch.Kind == "webhook" && ch.Secret == "" {
		bad(at+"secret", "a webhook needs a secret to sign with, at least 16 bytes; whsec_… is base64")
	}
	if ch.Kind == "slack" && ch.Secret != "" {
		bad(at+"secret", "chats do not check signatures; their address is the secret: url_from")
	}
	for field, set := range map[string]bool{"server": ch.Server != "", "from": ch.From != "", "user": ch.User != "", "password": ch.Pass != "", "tls": ch.TLS != ""} {
		if set {
			bad(at+field, "is for mail alone")
		}
	}
}

// checkURL wants https, or http to this machine.
func checkURL(s, field string, bad func(string, string, ...any)) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		bad(field, "%q is not an http(s) address", s)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		bad(field, "nothing goes over plain http to another host: say https")
	case u.User != nil:
		bad(field, "holds a password: secrets are not written here")
	}
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func checkMail(ch Channel, at string, bad func(string, string, ...any)) {
	host, _, err := net.SplitHostPort(ch.Server)
	if err != nil {
		bad(at+"server", "%q is not host:port; mail is handed in on port 587 by custom", ch.Server)
	}
	switch {
	case ch.TLS != "" && !slices.Contains([]string{"starttls", "tls", "none"}, ch.TLS):
		bad(at+"tls", `%q: say "starttls", "tls" (from the first byte, port 465) or "none"`, ch.TLS)
	case ch.TLS == "none" && err == nil && !loopback(host) && !ch.Clear:
		bad(at+"tls", "mail would go to %s in clear, links and reasons with it; if that is meant, say clear_text_is_all_right: true", host)
	case ch.TLS == "none" && ch.User != "" && !loopback(host):
		bad(at+"user", "a password is not sent in clear")
	}
	if (ch.User == "") != (ch.Pass == "") {
		bad(at+"user", "user and password go together")
	}
	if a, err := mail.ParseAddress(ch.From); err != nil || strings.ContainsAny(ch.From, "\r\n") {
		bad(at+"from", "%q is not a mail address such as jit-gateway <jit@example.org>", ch.From)
	} else if strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' }) {
		bad(at+"from", "the address has characters that not every mail server takes")
	}
	for field, set := range map[string]bool{"url": ch.URL != "", "url_from": ch.URLFrom != "", "secret": ch.Secret != "", "allow": len(ch.Allow) > 0} {
		if set {
			bad(at+field, "is not for mail")
		}
	}
}
