// Command jit-gateway is the gateway and the tool that administers it.
//
// main.go sorts a command line into what runs here (init, serve, config check,
// policy test, version, …) and what the running gateway does (everything else,
// over admin.sock). wire.go builds the gateway, top to bottom.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"jit-gateway/internal/command"
	"jit-gateway/internal/config"
)

// version is set by the linker for releases.
var version = ""

// defaultConfig is where packages put the configuration.
const defaultConfig = "/etc/jit-gateway/jit-gateway.yaml"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// local is the part of the command line that runs in this process.
type local struct {
	Config string `help:"Configuration file." short:"c" env:"JIT_GATEWAY_CONFIG" default:"${config}" type:"path"`

	Init   initCmd       `cmd:"" help:"Create data directory, keys, a commented configuration and the first administrator's invite."`
	Serve  serveCmd      `cmd:"" help:"Run the gateway."`
	Check  configCmd     `cmd:"" name:"config" help:"Check the configuration file."`
	Policy policyCmd     `cmd:"" help:"Test rules, and explain what they say of somebody."`
	Replay replayCmd     `cmd:"" name:"replay-file" help:"Replay a recording file here; with --identity an encrypted one."`
	Recip  recipientsCmd `cmd:"" name:"add-recipients" help:"Let more people read an encrypted recording file."`
	Doctor doctorCmd     `cmd:"" help:"Look for what is wrong with this installation, and say how to mend it."`
	Seal   sealKeysCmd   `cmd:"" name:"seal-keys" help:"Seal the CAs' key files under a passphrase that is kept elsewhere."`
	Backup backupCmd     `cmd:"" help:"Write a backup of the running gateway, without its sealing key, into a file."`
	Revive restoreCmd    `cmd:"" name:"restore" help:"Restore a backup into an empty data directory; no gateway may run on it."`
	Store  storeCmd      `cmd:"" help:"Copy the store to PostgreSQL."`
	Verify verifyCmd     `cmd:"" help:"Verify an evidence pack or an access report offline."`
	Ver    verCmd        `cmd:"" name:"version" help:"Print the version."`
}

// io3 is the standard streams, bound for every local command.
type io3 struct {
	in       io.Reader
	out, err io.Writer
}

// run is main without the process: what tests call. The exit status is 0 for
// success, 1 for failure, 2 for a wrong command line.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var cli local
	exit := -1
	parser, err := kong.New(&cli,
		kong.Name("jit-gateway"),
		kong.Description("Just-in-time access to SSH hosts and databases.\n\n"+
			"Every other command (user, target, ca, recording, audit, sessions, requests, …) runs in the gateway over its admin.sock; `jit-gateway help` lists them."),
		kong.Vars{"config": defaultConfig},
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&io3{stdin, stdout, stderr}),
		kong.UsageOnError(),
	)
	if err != nil {
		fmt.Fprintln(stderr, "jit-gateway:", err)
		return 1
	}
	if len(args) == 0 {
		run(ctx, []string{"--help"}, stdin, stdout, stderr)
		return 2
	}
	if rest, path, remote := remoteArgs(parser, args); remote {
		return callGateway(ctx, path, rest, stdin, stdout, stderr)
	}
	kctx, err := parser.Parse(args)
	switch {
	case exit >= 0: // --help
		return exit
	case err != nil:
		fmt.Fprintln(stderr, "jit-gateway:", err)
		fmt.Fprintln(stderr, "Try `jit-gateway --help`.")
		return 2
	}
	if err := kctx.Run(&cli); err != nil {
		var coded exitError
		if errors.As(err, &coded) {
			return int(coded)
		}
		fmt.Fprintln(stderr, "jit-gateway:", err)
		return 1
	}
	return 0
}

// exitError ends with a status and says nothing more.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// remoteArgs reports whether the first word is no local command, and splits
// off --config, which says where the socket is.
func remoteArgs(parser *kong.Kong, args []string) (rest []string, path string, remote bool) {
	path = defaultConfig
	if env := os.Getenv("JIT_GATEWAY_CONFIG"); env != "" {
		path = env
	}
	for len(args) > 0 {
		switch a := args[0]; {
		case (a == "-c" || a == "--config") && len(args) > 1:
			path, args = args[1], args[2:]
		case strings.HasPrefix(a, "--config="):
			path, args = strings.TrimPrefix(a, "--config="), args[1:]
		case strings.HasPrefix(a, "-"):
			return nil, "", false
		default:
			for _, n := range parser.Model.Children {
				if n.Name == a {
					return nil, "", false
				}
			}
			return args, path, true
		}
	}
	return nil, "", false
}

// callGateway runs a command in the gateway that the configuration belongs to.
func callGateway(ctx context.Context, path string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c, err := config.Load(path)
	if err != nil && args[0] == "help" { // before there is a gateway, its own commands are all there is
		return run(ctx, []string{"--help"}, stdin, stdout, stderr)
	} else if err != nil {
		fmt.Fprintln(stderr, "jit-gateway:", err)
		return 1
	}
	args, path = outFile(args)
	call := func(stdout io.Writer) int {
		return command.Call(ctx, socketPath(c), args, command.Stdio{In: stdin, Out: stdout, Err: stderr})
	}
	if path != "" {
		return intoFile(path, stderr, call)
	}
	return call(stdout)
}

func socketPath(c *config.Config) string { return filepath.Join(c.DataDir, "admin.sock") }

type verCmd struct{}

func (verCmd) Run(s *io3) error {
	_, err := fmt.Fprintln(s.out, "jit-gateway", versionString())
	return err
}

// versionString is the linker's version, or the module's and the commit.
func versionString() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			v += " " + s.Value[:12]
		}
	}
	return v
}

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Check the configuration file: every error with file, line and field."`
}

type configCheckCmd struct {
	File string `arg:"" optional:"" help:"File to check instead of --config." type:"path"`
}

func (c configCheckCmd) Run(cli *local, s *io3) error {
	path := cli.Config
	if c.File != "" {
		path = c.File
	}
	conf, err := config.Load(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s: good: %d targets, %d rules; it listens on\n", path, len(conf.Targets), len(conf.Rules))
	for _, l := range [][2]string{{"ssh", conf.Listen.SSH}, {"postgres", conf.Listen.Postgres}, {"web", conf.Listen.Web}, {"metrics", conf.Listen.Metrics}} {
		fmt.Fprintf(s.out, "  %-9s %s\n", l[0], cmp.Or(l[1], "off"))
	}
	return nil
}
