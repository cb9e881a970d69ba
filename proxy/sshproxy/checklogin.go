package sshproxy

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/display"
)

func (p *loginProbe) offers(method string) bool { return slices.Contains(p.methods, method) }

// trusts reports whether any certificate of the gateway was accepted.
func (p *loginProbe) trusts() bool { return p.accepted || p.otherFrom || p.other }

// scoped is the principal of a login on this target alone.
func (k *checker) scoped(login string) string { return login + "@" + k.t.Name }

// principalsFix is where the host lists who may be login.
func (k *checker) principalsFix(login string) string {
	return fmt.Sprintf("on the host: /etc/ssh/auth_principals/%s needs the line: %s\nand /etc/ssh/sshd_config the line: AuthorizedPrincipalsFile /etc/ssh/auth_principals/%%u (then: systemctl reload ssh)", login, k.scoped(login))
}

// judge turns what the host said of each login into findings.
func (k *checker) judge() {
	plain := k.t.SSH.Principals == "plain"
	trusted := slices.ContainsFunc(k.logins, (*loginProbe).trusts)
	asked := slices.ContainsFunc(k.logins, func(p *loginProbe) bool { return p.err == nil && !p.none && p.offers("publickey") })
	switch {
	case k.t.SSH.Key != "":
	case trusted:
		k.ok("user CA", "trusted: "+ssh.FingerprintSHA256(k.s.o.Authority.UserCAKey()))
	case asked:
		k.bad("user CA", "no certificate of the gateway is accepted for any login: the CA is not trusted, or no principals file names a login",
			"on the host: /etc/ssh/jit-gateway.pub needs the line: "+keyText(k.s.o.Authority.UserCAKey())+
				"\nand /etc/ssh/sshd_config the line: TrustedUserCAKeys /etc/ssh/jit-gateway.pub (then: systemctl reload ssh)"+
				"\nPubkeyAcceptedAlgorithms there must not exclude ssh-ed25519-cert-v01@openssh.com, nor CASignatureAlgorithms ssh-ed25519")
	}
	for _, p := range k.logins {
		what, name := "login "+p.login, k.scoped(p.login)
		if plain {
			name = p.login
		}
		switch {
		case p.none:
			k.bad(what, "the host lets anybody in, without key or password", "on the host: /etc/ssh/sshd_config needs the lines: PermitEmptyPasswords no, and AuthenticationMethods publickey")
		case p.err != nil:
			fix := "see the log of sshd on the host; if it counts failures (PerSourcePenalties, MaxStartups, fail2ban), exempt the gateway"
			if k.t.SSH.Key != "" && p.configured == nil {
				fix = k.in("key: file:PATH of a private key that the gateway can read", "--key-ref file:PATH")
			}
			k.bad(what, display.Line(p.err.Error(), 300), fix)
		case !p.offers("publickey"):
			k.bad(what, "the host takes no keys, it offers "+p.offered(), "on the host: /etc/ssh/sshd_config needs the line: PubkeyAuthentication yes")
		case k.t.SSH.Key != "" && p.accepted:
			k.ok(what, "accepts the configured key "+ssh.FingerprintSHA256(p.configured))
		case k.t.SSH.Key != "":
			k.bad(what, "does not accept the configured key "+ssh.FingerprintSHA256(p.configured), fmt.Sprintf("on the host: ~%s/.ssh/authorized_keys needs the line: %s", p.login, keyText(p.configured)))
		case p.accepted:
			k.ok(what, "accepts the principal "+name)
		case p.otherFrom:
			k.bad(what, "accepts the principal "+name+", but not from the addresses that certificates are bound to: "+p.sources,
				"in the gateway's configuration, egress: the address that the host sees the gateway come from; it stands in the log of sshd (certificate source-address)")
		case p.other && plain:
			k.bad(what, "the CA is trusted, but the principal "+name+" is not accepted; "+k.scoped(p.login)+" is", "remove principals: plain; "+k.in("principals: scoped", "--principals scoped"))
		case p.other:
			k.bad(what, "the CA is trusted, but the principal "+name+" is not accepted; the plain "+p.login+" is", k.principalsFix(p.login))
		case trusted && plain:
			k.bad(what, "the CA is trusted, but not for this login", k.allowFix(p.login)+"\nand if AuthorizedPrincipalsFile is set, that file needs the line: "+p.login)
		case trusted:
			k.bad(what, "the CA is trusted, but not for this login", k.principalsFix(p.login)+"\n"+k.allowFix(p.login))
		case plain:
			k.bad(what, "no certificate is accepted, see user CA", k.allowFix(p.login))
		default:
			k.bad(what, "no certificate is accepted, see user CA", k.principalsFix(p.login))
		}
	}
}

func (k *checker) allowFix(login string) string {
	fix := fmt.Sprintf("on the host: the account must be there (getent passwd %s), and AllowUsers, DenyUsers, AllowGroups and DenyGroups in /etc/ssh/sshd_config must let it in", login)
	if login == "root" {
		fix += "; root also needs the line: PermitRootLogin prohibit-password"
	}
	return fix
}

// offered lists the host's methods, which are its own words.
func (p *loginProbe) offered() string {
	var out []string
	for _, m := range p.methods[:min(len(p.methods), 8)] {
		out = append(out, display.Line(m, 40))
	}
	return strings.Join(out, ", ")
}

// otherWays are methods besides keys, and how sshd is told to offer them no more.
var otherWays = []struct{ method, what, fix string }{
	{"password", "password login", "PasswordAuthentication no"},
	{"keyboard-interactive", "keyboard-interactive login", "KbdInteractiveAuthentication no"},
	{"hostbased", "host-based login", "HostbasedAuthentication no"},
	{"gssapi-with-mic", "Kerberos login", "GSSAPIAuthentication no"},
	{"gssapi-keyex", "Kerberos login by key exchange", "GSSAPIAuthentication no"},
}

// others lists other ways in, as far as they show outside.
func (k *checker) others() {
	seen, open := 0, 0
	for _, w := range otherWays {
		var logins []string
		for _, p := range k.logins {
			if p.offers(w.method) {
				logins = append(logins, p.login)
			}
		}
		if len(logins) > 0 {
			open++
			k.bad(w.what, "offered to "+strings.Join(logins, ", "), "on the host: /etc/ssh/sshd_config needs the line: "+w.fix+" (then: systemctl reload ssh)")
		}
	}
	for _, p := range k.logins {
		if p.err == nil {
			seen++
		}
		if p.accepted && p.other && k.t.SSH.Principals != "plain" {
			open++
			k.bad("login "+p.login, "also accepts the plain principal "+p.login+", which certificates for targets with principals: plain have",
				"on the host: /etc/ssh/auth_principals/"+p.login+" must not have the line: "+p.login)
		}
	}
	if seen > 0 && open == 0 {
		k.ok("standing access", "nothing but keys is offered")
	}
	k.ok("not seen from outside", "authorized_keys (AuthorizedKeysFile, AuthorizedKeysCommand), other CAs in TrustedUserCAKeys, further principals, logins that the target does not list, other services and consoles. "+
		"On the host: sshd -T | grep -iE 'authorized|trusted|authentication', and the files that it names")
}
