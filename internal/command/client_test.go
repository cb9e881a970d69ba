package command

import (
	"os"
	"os/exec"
	"testing"

	"jit-gateway/internal/testenv"
)

// inTerminal runs a shell line in a real terminal; gw is the local client.
func inTerminal(t *testing.T, path, line string) *testenv.PTY {
	t.Helper()
	cmd := exec.Command("sh", "-c", `gw() { "$COMMAND_TEST_PROGRAM" "$@"; }; `+line)
	cmd.Env = append(os.Environ(), "COMMAND_TEST_SOCKET="+path, "COMMAND_TEST_PROGRAM="+os.Args[0])
	return testenv.NewPTY(t, cmd)
}

func expect(t *testing.T, p *testenv.PTY, patterns ...string) {
	t.Helper()
	for _, s := range patterns {
		if _, err := p.Expect(s); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPromptInARealTerminal(t *testing.T) {
	onSocket(t, func(w *world, path string) {
		p := inTerminal(t, path, "gw; echo status $?; stty -a")
		expect(t, p, "hello, local administrator", "jit-gateway> ")
		_ = p.Line("whoami")
		expect(t, p, "whoami\r\n", "admin.sock", "jit-gateway> ")
		_ = p.Send("half a line\x03")
		expect(t, p, `\^C\r\n`, "jit-gateway> ")
		_ = p.Line("revoke G1")
		expect(t, p, "Reason: ")
		_ = p.Line("because")
		expect(t, p, "There is no G1 that you may change", "jit-gateway> ")
		_ = p.Line("audit tail --follow")
		expect(t, p, "audit.read")
		_ = p.Send("\x03")
		expect(t, p, "jit-gateway> ")
		_ = p.Send("\x1b[A") // the history has commands, not answers
		expect(t, p, "audit tail --follow")
		_ = p.Send("\x15\x04")
		expect(t, p, "status 0", `[^-]icanon`, `[^-]echo `)
		if s, err := p.Exit(); s != 0 || err != nil {
			t.Errorf("%d %v", s, err)
		}
	})
}

// With stdout elsewhere questions still reach the terminal, and stdout holds
// the result alone.
func TestQuestionsWithStdoutElsewhere(t *testing.T) {
	onSocket(t, func(w *world, path string) {
		out := t.TempDir() + "/out"
		p := inTerminal(t, path, "gw revoke G1 > "+out+"; echo status $?")
		expect(t, p, "Reason: ")
		_ = p.Line("because")
		expect(t, p, "There is no G1", "status 1")
		raw, err := os.ReadFile(out)
		if err != nil || len(raw) != 0 {
			t.Errorf("stdout %q, %v", raw, err)
		}
	})
}

func TestShellLoopKeepsItsInput(t *testing.T) {
	onSocket(t, func(w *world, path string) {
		p := inTerminal(t, path, `printf 'one\ntwo\n' | while read x; do gw whoami > /dev/null; echo "did $x"; done`)
		expect(t, p, "did one", "did two")
	})
}
