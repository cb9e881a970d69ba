package command

import (
	"encoding/pem"
	"strings"
)

type caCmd struct {
	Show caShowCmd `cmd:"" help:"Show the public keys, or one of them alone."`
}

type caShowCmd struct {
	Which string `arg:"" optional:"" enum:",user,host,gateway,client,page" default:"" help:"user: for TrustedUserCAKeys of hosts; host: for @cert-authority of users; gateway: the gateway's own host keys; client: for databases (PEM); page: for browsers and sslrootcert (PEM)."`
}

// caJSON is what --json prints.
type caJSON struct {
	UserCA      string   `json:"user_ca"`
	HostCA      string   `json:"host_ca"`
	GatewayKeys []string `json:"gateway_keys"`
	ClientCA    string   `json:"client_ca"`
	PageCA      string   `json:"page_ca"`
}

func (s *caShowCmd) Run(c *call) error {
	a := c.r.o.Authority
	v := caJSON{UserCA: keyLine(a.UserCAKey()), HostCA: keyLine(a.HostCAKey()), PageCA: string(a.PageCA())}
	for _, o := range a.OuterSigners() {
		v.GatewayKeys = append(v.GatewayKeys, keyLine(o.PublicKey()))
	}
	if cert := a.ClientCA(); cert != nil {
		v.ClientCA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	}
	if c.root.JSON {
		return c.json(v)
	}
	switch s.Which {
	case "user":
		c.print("%s", v.UserCA)
	case "host":
		c.print("%s", v.HostCA)
	case "gateway":
		c.print("%s", strings.Join(v.GatewayKeys, "\n"))
	case "client":
		c.print("%s", strings.TrimSpace(v.ClientCA))
	case "page":
		c.print("%s", strings.TrimSpace(v.PageCA))
	default:
		c.print("# Hosts: a file with this line, named by TrustedUserCAKeys in sshd_config\n%s\n", v.UserCA)
		c.print("# Users: known_hosts (%sconfig prints the whole line)\n@cert-authority … %s\n", c.prefix(), v.HostCA)
		c.print("# Users: the gateway itself\n%s\n", strings.Join(v.GatewayKeys, "\n"))
		c.print("# Databases: ssl_ca_file, for client_cert\n%s\n", strings.TrimSpace(v.ClientCA))
		c.print("# Browsers, and sslrootcert of database clients\n%s", strings.TrimSpace(v.PageCA))
	}
	return nil
}
