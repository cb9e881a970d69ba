# Sourced by every case that is a shell script. A case ends with 0 if
# everything it checked held; the first thing that did not ends it.
set -euo pipefail

SSH="ssh -F $JIT_SSH_CONFIG"

# same WHAT GOT WANT
same() {
	if [ "$2" != "$3" ]; then
		printf '%s: got %q, want %q\n' "$1" "$2" "$3" >&2
		exit 1
	fi
	echo "ok: $1"
}

# has WHAT TEXT PART
has() {
	case $2 in
	*"$3"*) echo "ok: $1" ;;
	*)
		printf '%s: %q does not contain %q\n' "$1" "$2" "$3" >&2
		exit 1
		;;
	esac
}

# status WHAT WANT COMMAND...: runs it and compares the exit status.
status() {
	local what=$1 want=$2 got=0
	shift 2
	"$@" || got=$?
	same "$what" "$got" "$want"
}

# port: a free loopback port.
port() {
	/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# until_open PORT: waits until something listens there.
until_open() {
	for _ in $(seq 200); do
		if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return 0; fi
		sleep 0.05
	done
	echo "nothing listens on port $1" >&2
	exit 1
}

# background COMMAND...: ends with the case.
background() {
	"$@" <&0 & # bash gives background commands /dev/null otherwise
	background_pids="${background_pids:-} $!"
	trap 'for p in $background_pids; do kill "$p" 2>/dev/null || true; done' EXIT
}
