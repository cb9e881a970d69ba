// Command bench measures the gateway side by side with plain tools and prints
// a table. `make bench-ssh` and `make bench-pg` call it; docs/benchmarks.md
// says what is measured.
//
// Usage:
//
//	bench ssh [flags]   against ssh -J through an OpenSSH jump host, and direct
//	bench pg [flags]    against pgbouncer in session mode, and direct
//	bench leak [flags]  what is left of 10,000 SSH sessions that have ended
//	bench scale [flags] 1,000 live sessions of each protocol, and their end
//	bench recording [--quick] [output|sql|seek|read|index]…   the recorder by itself
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"jit-gateway/internal/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "recording" {
		parts := slices.DeleteFunc(args[1:], func(a string) bool { return a == "--quick" })
		return bench.Recording(ctx, len(parts) < len(args)-1, parts, os.Stdout, os.Stderr)
	}
	if len(args) == 0 || (args[0] != "ssh" && args[0] != "pg" && args[0] != "leak" && args[0] != "scale") {
		return errors.New("say bench ssh, pg, leak, scale or recording; flags come behind")
	}
	o := bench.Full()
	for _, a := range args[1:] {
		if a == "--quick" || a == "-quick" {
			o = bench.Quick() // first, so that other flags can change it
		}
	}
	flags := flag.NewFlagSet("bench "+args[0], flag.ContinueOnError)
	flags.Bool("quick", false, "small sizes, at most three minutes")
	flags.IntVar(&o.Size, "size", o.Size, "`MiB` of each transfer over SSH")
	flags.IntVar(&o.Rows, "rows", o.Rows, "`rows` of the table that is selected and copied (1600000 are 200 MB)")
	flags.IntVar(&o.Seconds, "seconds", o.Seconds, "`seconds` of each pgbench run")
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "`rounds` of each cell")
	flags.IntVar(&o.Idle, "idle", o.Idle, "idle `sessions`")
	flags.IntVar(&o.Sessions, "sessions", o.Sessions, "`sessions` that leak opens and ends")
	flags.IntVar(&o.Live, "live", o.Live, "`sessions` of each protocol that scale holds open at once")
	flags.IntVar(&o.Events, "events", o.Events, "audit `events` in the store that scale restarts with; 0: only its own")
	only := flags.String("only", "", "measure only cells whose name matches this `regexp`")
	flags.StringVar(&o.Gateway, "gateway", "", "`path` of the gateway's program (beside this one by default)")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q was not understood; see -h", flags.Arg(0))
	}
	if o.Size < 1 || o.Rows < 1 || o.Seconds < 1 || o.Rounds < 1 || o.Idle < 1 || o.Sessions < 10 {
		return errors.New("sizes, seconds, rounds and sessions begin at 1")
	}
	if *only != "" {
		var err error
		if o.Only, err = regexp.Compile(*only); err != nil {
			return fmt.Errorf("read --only: %w", err)
		}
	}
	if o.Gateway == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		o.Gateway = filepath.Join(filepath.Dir(self), "jit-gateway")
	}
	if _, err := os.Stat(o.Gateway); err != nil {
		return fmt.Errorf("the gateway is not built: %w; run make build", err)
	}
	o.Out, o.Log = os.Stdout, os.Stderr
	switch args[0] {
	case "pg":
		return bench.Postgres(ctx, o)
	case "leak":
		return bench.Leak(ctx, o)
	case "scale":
		return bench.Scale(ctx, o)
	}
	return bench.SSH(ctx, o)
}
