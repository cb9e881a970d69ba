package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// onSocket runs f with a gateway behind a socket, on the real clock: sockets
// and bubbles do not go together.
func onSocket(t *testing.T, f func(w *world, path string)) {
	t.Helper()
	w, stop := newWorld(t, map[string][]string{"alice": {"sre"}})
	defer stop()
	ctx, cancel := context.WithCancel(t.Context())
	path := filepath.Join(t.TempDir(), "admin.sock")
	ended := make(chan error, 1)
	go func() { ended <- w.r.Listen(ctx, path, false) }()
	for range 500 {
		if _, err := os.Stat(path); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	f(w, path)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func callIt(t *testing.T, path, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	s := Call(t.Context(), path, args, Stdio{In: strings.NewReader(stdin), Out: &out, Err: &errs})
	return result{s, out.String(), errs.String()}
}

func TestSocketCarriesStreamsAndStatus(t *testing.T) {
	onSocket(t, func(w *world, path string) {
		st, err := os.Stat(path)
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", st.Mode(), err)
		}
		if r := callIt(t, path, "", "whoami"); r.status != OK || !strings.Contains(r.out, "admin.sock") || r.err != "" {
			t.Errorf("%+v", r)
		}
		if r := callIt(t, path, "", "target", "remove", "nosuch"); r.status != Failed || !strings.Contains(r.err, "See: jit-gateway target list") {
			t.Errorf("%+v", r)
		}
		if r := callIt(t, path, "", "nonsense"); r.status != Usage || !strings.Contains(r.err, "See: jit-gateway help") {
			t.Errorf("%+v", r)
		}
		if r := callIt(t, path, ""); r.status != Usage || !strings.Contains(r.out, "Usage:") {
			t.Errorf("%+v", r)
		}
		if r := callIt(t, path, "because\n", "revoke", "G1"); r.status != Failed || !strings.Contains(r.err, "Reason: ") {
			t.Errorf("%+v", r)
		}
		// A large input and a large output, both over many frames.
		var list []map[string]any
		for i := range 500 {
			list = append(list, map[string]any{"name": "host" + strings.Repeat("x", i%40) + string(rune('a'+i%26)) + itoa(i), "kind": "ssh",
				"ssh": map[string]any{"address": "192.0.2.1", "logins": []string{"deploy"}, "host_keys": []string{hostKey}}})
		}
		raw, _ := json.Marshal(list)
		if r := callIt(t, path, string(raw), "target", "import"); r.status != OK {
			t.Fatalf("%+v", r)
		}
		r := callIt(t, path, "", "target", "list", "--json")
		var back []map[string]any
		if err := json.Unmarshal([]byte(r.out), &back); err != nil || len(back) != 503 {
			t.Errorf("%d targets, %v", len(back), err)
		}
	})
}

func itoa(i int) string { b, _ := json.Marshal(i); return string(b) }

// A command that reads no stdin leaves it to the next one, as in a shell loop.
func TestSocketLeavesStdinUnread(t *testing.T) {
	onSocket(t, func(w *world, path string) {
		in := strings.NewReader("a\nb\n")
		var out bytes.Buffer
		if s := Call(t.Context(), path, []string{"whoami"}, Stdio{In: in, Out: &out, Err: &out}); s != OK {
			t.Fatal(out.String())
		}
		if rest, _ := io.ReadAll(in); string(rest) != "a\nb\n" {
			t.Errorf("what is left of stdin: %q", rest)
		}
	})
}

func TestSocketInterrupt(t *testing.T) {
	onSocket(t, func(w *world, path string) {
		ctx, cancel := context.WithCancel(t.Context())
		var out, errs screenBuf
		done := make(chan int, 1)
		go func() {
			done <- Call(ctx, path, []string{"audit", "tail", "--follow"}, Stdio{In: strings.NewReader(""), Out: &out, Err: &errs})
		}()
		for range 500 {
			if strings.Contains(out.String(), "audit.read") {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
		select {
		case s := <-done:
			if s != OK {
				t.Errorf("status %d: %s", s, &errs)
			}
		case <-time.After(stopTime):
			t.Error("Ctrl-C did not end the call")
		}
	})
}

func TestSocketClientGone(t *testing.T) {
	onSocket(t, func(w *world, path string) {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		f := &frames{w: conn}
		_ = f.sendJSON(frameHello, hello{Version: protocolVersion, Args: []string{"audit", "tail", "--follow"}})
		if kind, _, err := readFrame(conn); err != nil || kind != frameOut {
			t.Fatalf("%c %v", kind, err)
		}
		conn.Close() // Listen waits for the call when onSocket ends
	})
}

func TestSocketRefusesNonsense(t *testing.T) {
	onSocket(t, func(w *world, path string) {
		for _, bytes := range [][]byte{
			{}, {frameHello}, {frameHello, 0, 0, 0, 2, '{'}, {frameHello, 0xff, 0xff, 0xff, 0xff}, {frameInput, 0, 0, 0, 0}, []byte("GET / HTTP/1.1\r\n\r\n"),
			append([]byte{frameHello, 0, 0, 0, 13}, `{"version":9}`...),
		} {
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = conn.Write(bytes)
			_ = conn.(*net.UnixConn).CloseWrite()
			_ = conn.SetReadDeadline(time.Now().Add(helloTime))
			out, err := io.ReadAll(conn)
			if err != nil && !errors.Is(err, syscall.ECONNRESET) { // more was sent than was read
				t.Errorf("%q: %v", bytes, err)
			}
			if len(out) > 0 && !strings.Contains(string(out), "another version") {
				t.Errorf("%q answered %q", bytes, out)
			}
			conn.Close()
		}
	})
}

func TestSocketInUseAndLeftBehind(t *testing.T) {
	onSocket(t, func(w *world, path string) {
		if err := w.r.Listen(t.Context(), path, false); err == nil || !strings.Contains(err.Error(), "another gateway is running") {
			t.Errorf("a second gateway: %v", err)
		}
		if r := callIt(t, path, "", "whoami"); r.status != OK {
			t.Errorf("the first one is gone: %+v", r)
		}
	})
	// One that a killed gateway left is replaced.
	path := filepath.Join(t.TempDir(), "admin.sock")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	ln, err := listenPrivate(path, false)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if r := callIt(t, path, "", "whoami"); r.status != Failed || !strings.Contains(r.err, "jit-gateway serve") {
		t.Errorf("without a gateway: %+v", r)
	}
}

func TestOnlyTheGatewaysUserAndRootAreAnswered(t *testing.T) {
	if !mayAdminister(0) || !mayAdminister(os.Getuid()) || mayAdminister(os.Getuid()+1) {
		t.Error("wrong users")
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "a")
	defer os.NewFile(uintptr(fds[1]), "b").Close()
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if uid, err := peerUID(c.(*net.UnixConn)); err != nil || uid != os.Getuid() {
		t.Errorf("peer %d, %v", uid, err)
	}
}

func FuzzReadFrame(f *testing.F) {
	for _, s := range []string{"", "h", "h\x00\x00\x00\x01x", "i\x00\x00\x00\x00", "o\xff\xff\xff\xff", "w\x00\x00\x00\x05{}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			kind, p, err := readFrame(r)
			if err != nil {
				return
			}
			if len(p) > maxFrame {
				t.Fatalf("frame %c of %d bytes", kind, len(p))
			}
		}
	})
}
