package sshproxy

import (
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// dialOuter is a connection of alice with the Go library, for what stock
// clients do not do.
func (g *gateway) dialOuter() *ssh.Client {
	g.t.Helper()
	c, err := ssh.Dial("tcp", g.addr, &ssh.ClientConfig{User: "alice", Auth: []ssh.AuthMethod{ssh.PublicKeys(g.keys["alice"])},
		HostKeyCallback: ssh.FixedHostKey(g.auth.OuterSigners()[0].PublicKey()), HostKeyAlgorithms: []string{g.auth.OuterSigners()[0].PublicKey().Type()}, Timeout: 10 * time.Second})
	if err != nil {
		g.t.Fatal(err)
	}
	return c
}

// dialInner goes through to a target, by publickey as a -L peer would.
func (g *gateway) dialInner(target, login string) *ssh.Client {
	g.t.Helper()
	outer := g.dialOuter()
	conn, err := outer.Dial("tcp", target+":22")
	if err != nil {
		g.t.Fatal(err)
	}
	checker := ssh.CertChecker{IsHostAuthority: func(k ssh.PublicKey, _ string) bool { return same(k, g.auth.HostCAKey()) }}
	c, chans, reqs, err := ssh.NewClientConn(conn, target+":22", &ssh.ClientConfig{User: login, Auth: []ssh.AuthMethod{ssh.PublicKeys(g.keys["alice"])},
		HostKeyCallback: func(host string, addr net.Addr, key ssh.PublicKey) error {
			return checker.CheckHostKey(host, addr, key)
		}})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { outer.Close() })
	return ssh.NewClient(c, chans, reqs)
}
