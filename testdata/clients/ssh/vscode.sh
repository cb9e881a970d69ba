#!/bin/bash
# VS Code's Remote-SSH, step by step as it is documented: a script on the
# standard input of one connection starts a server that listens on a socket or
# a loopback port, and a second connection forwards to it while the first
# stays open.
. "$LIB/lib.sh"

cat >server.py <<'P'
import os, socket, sys, threading
path = os.path.expanduser("~/.vscode-test.sock")
if os.path.exists(path): os.unlink(path)
u = socket.socket(socket.AF_UNIX); u.bind(path); u.listen()
t = socket.socket(); t.bind(("127.0.0.1", 0)); t.listen()
def serve(l):
    while True:
        c, _ = l.accept()
        def echo(c=c):
            while (b := c.recv(65536)): c.sendall(b)
            c.close()
        threading.Thread(target=echo, daemon=True).start()
for l in (u, t): threading.Thread(target=serve, args=(l,), daemon=True).start()
print("listeningOn==%d==" % t.getsockname()[1], flush=True)
print("socket==%s==" % path, flush=True)
sys.stdin.read()
P
# The installer arrives on stdin of `bash`, with no terminal; it stays open.
mkfifo in
exec 4<>in
background $SSH -T -o ConnectTimeout=15 web01 bash <in >log 4>&-
{ echo "cat >\$HOME/.vscode-test.py <<'EOT'"; cat server.py; echo EOT; echo 'exec /usr/bin/python3 $HOME/.vscode-test.py'; } >&4
for _ in $(seq 200); do grep -q socket== log && break; sleep 0.05; done
remote=$(sed -n 's/.*listeningOn==\([0-9]*\)==.*/\1/p' log)
sock=$(sed -n 's/.*socket==\(.*\)==.*/\1/p' log)
[ -n "$remote" ] && [ -n "$sock" ] || { echo "the server did not start: $(cat log)" >&2; exit 1; }

local=$(port)
background $SSH -N -o ExitOnForwardFailure=yes -L "$local:127.0.0.1:$remote" web01
until_open "$local"
background $SSH -N -o ExitOnForwardFailure=yes -L "$PWD/local.sock:$sock" web01
for _ in $(seq 100); do [ -S local.sock ] && break; sleep 0.05; done
background $SSH -N -D "$(port)" web01

/usr/bin/python3 - "$local" <<'P'
import os, socket, sys
data = os.urandom(2_000_000)
for family, to in ((socket.AF_INET, ("127.0.0.1", int(sys.argv[1]))), (socket.AF_UNIX, "local.sock")):
    import threading
    s = socket.socket(family); s.settimeout(20); s.connect(to)
    threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)), daemon=True).start()
    got = b""
    while (b := s.recv(65536)): got += b
    assert got == data, (family, len(got))
    print("ok: 2 MB through", "the port" if family == socket.AF_INET else "the socket")
P
exec 4>&-
