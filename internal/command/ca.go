package command

import "strings"

type caCmd struct {
	Show   caShowCmd   `cmd:"" help:"Show the public keys, or one of them alone."`
	Rotate caRotateCmd `cmd:"" help:"Make the next key of a CA and publish it; with --activate, let it sign." who:"admin"`
	Retire caRetireCmd `cmd:"" help:"End a CA that does not sign any more, and delete its key." who:"admin"`
}

type caShowCmd struct {
	Which string `arg:"" optional:"" enum:",user,host,gateway,client,page" default:"" help:"user: for TrustedUserCAKeys of hosts; host: for @cert-authority of users; gateway: the gateway's own host keys; client: for databases (PEM); page: for browsers and sslrootcert (PEM)."`
}

// caJSON is what --json prints. During a rotation there are several keys of
// a CA; the first signs.
type caJSON struct {
	UserCA      string   `json:"user_ca"`
	UserCAs     []string `json:"user_cas"`
	HostCA      string   `json:"host_ca"`
	HostCAs     []string `json:"host_cas"`
	GatewayKeys []string `json:"gateway_keys"`
	ClientCA    string   `json:"client_ca"`
	PageCA      string   `json:"page_ca"`
}

func (s *caShowCmd) Run(c *call) error {
	a := c.r.o.Authority
	v := caJSON{UserCA: keyLine(a.UserCAKey()), HostCA: keyLine(a.HostCAKey()), ClientCA: string(a.ClientCAs()), PageCA: string(a.PageCA())}
	for _, k := range a.UserCAKeys() {
		v.UserCAs = append(v.UserCAs, keyLine(k))
	}
	for _, k := range a.HostCAKeys() {
		v.HostCAs = append(v.HostCAs, keyLine(k))
	}
	for _, o := range a.OuterSigners() {
		v.GatewayKeys = append(v.GatewayKeys, keyLine(o.PublicKey()))
	}
	if c.root.JSON {
		return c.json(v)
	}
	switch s.Which {
	case "user":
		c.print("%s", strings.Join(v.UserCAs, "\n"))
	case "host":
		c.print("%s", strings.Join(v.HostCAs, "\n"))
	case "gateway":
		c.print("%s", strings.Join(v.GatewayKeys, "\n"))
	case "client":
		c.print("%s", strings.TrimSpace(v.ClientCA))
	case "page":
		c.print("%s", strings.TrimSpace(v.PageCA))
	default:
		c.print("# Hosts: a file with %s, named by TrustedUserCAKeys in sshd_config\n%s\n", these(v.UserCAs), strings.Join(v.UserCAs, "\n"))
		c.print("# Users: known_hosts (ssh %s config prints the whole line)\n@cert-authority … %s\n", c.r.o.Public.Name, strings.Join(v.HostCAs, "\n@cert-authority … "))
		c.print("# Users: the gateway itself\n%s\n", strings.Join(v.GatewayKeys, "\n"))
		c.print("# Databases: ssl_ca_file, for client_cert\n%s\n", strings.TrimSpace(v.ClientCA))
		c.print("# Browsers, and sslrootcert of database clients\n%s", strings.TrimSpace(v.PageCA))
	}
	return nil
}

func these(lines []string) string {
	if len(lines) == 1 {
		return "this line"
	}
	return "these lines (a rotation is under way)"
}
