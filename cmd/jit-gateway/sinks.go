package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"

	"jit-gateway/internal/config"
	"jit-gateway/internal/sink"
	"jit-gateway/internal/webhook"
)

// sinks makes the configured copies of the audit log.
func sinks(c *config.Config, g *gateway) (*sink.Runner, error) {
	o := sink.Options{Store: g.db, OCSF: map[string]bool{}, Required: map[string]bool{}, Product: versionString(),
		Now: now, Metrics: sink.NewMetrics(g.registry), Logger: g.log}
	for _, s := range c.Sinks {
		o.OCSF[s.Name], o.Required[s.Name] = s.Format == "ocsf", s.Required
		switch s.Kind {
		case "file":
			o.Sinks = append(o.Sinks, sink.NewFile(s.Name, s.Path))
		case "syslog":
			conf, err := syslogTLS(s)
			if err != nil {
				return nil, err
			}
			o.Sinks = append(o.Sinks, sink.NewSyslog(s.Name, s.Address, conf))
		case "webhook":
			client := webhook.NewClient(webhook.Options{Allow: s.Allow, Now: now})
			o.Sinks = append(o.Sinks, sink.NewHook(s.Name, s.URL, func() (string, error) { return config.Secret(s.Secret) }, client))
		}
	}
	return sink.New(o)
}

func syslogTLS(s config.Sink) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(s.Address)
	if err != nil {
		return nil, fmt.Errorf("sink %s: %w", s.Name, err)
	}
	conf := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if s.CAFile == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(s.CAFile)
	if err != nil {
		return nil, fmt.Errorf("sink %s: read ca_file: %w", s.Name, err)
	}
	conf.RootCAs = x509.NewCertPool()
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("sink %s: %s holds no certificate", s.Name, s.CAFile)
	}
	return conf, nil
}
