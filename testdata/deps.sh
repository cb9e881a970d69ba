#!/bin/sh
# deps.sh demo|test|clients|bench: installs the Debian packages that a purpose
# needs, only those that are missing, and says so. It changes nothing else:
# services that Debian would start on installation (sshd on port 22, a
# PostgreSQL cluster) are kept from starting, since only their programs are used.
set -eu

demo="gcc libc6-dev openssh-client openssh-server postgresql-15 postgresql-client-15 libnss-wrapper rsync"
test="$demo git curl ssh-audit chromium-headless-shell rsyslog rsyslog-openssl tmux python3 python3-aiosmtpd openssl pebble
 sqlite3 libconfig9 liborcania2.3 libyder2.0 libhoel1.4 librhonabwy1.1 libulfius2.7 libiddawc1.1 liboath0 libcbor0.8 libjansson4 libldap-2.5-0"
clients="$demo haproxy ansible-core python3-paramiko python3-asyncssh putty-tools dropbear-bin curl lftp git sshfs
 python3-psycopg2 python3-psycopg python3-asyncpg libpostgresql-jdbc-java default-jdk-headless libdbd-pg-perl nodejs npm"
bench="$demo pgbouncer"

case "${1:-}" in
demo) want=$demo ;;
test) want=$test ;;
clients) want=$clients ;;
bench) want=$bench ;;
*) echo "usage: $0 demo|test|clients|bench" >&2; exit 2 ;;
esac

# node-pg is plain JavaScript, but apt refuses it beside a Node.js that is not
# Debian's own: so its packages are unpacked below .tools, without root.
nodepg() {
	dir=$(cd "$(dirname "$0")/.." && pwd)/.tools/node-pg
	[ ! -e "$dir/done" ] || return 0
	echo "deps: unpacking Debian's node-pg into $dir" >&2
	rm -rf "$dir" && mkdir -p "$dir/debs"
	(cd "$dir/debs" && for try in 1 2 3; do
		apt-get download -q node-pg node-split2 node-xtend node-readable-stream node-inherits node-core-util-is \
			node-string-decoder node-safe-buffer node-process-nextick-args node-util-deprecate node-isarray node-through2 >log 2>&1 && break
		[ $try != 3 ] || { cat log >&2; exit 1; }
		sleep 5
	done
	for d in *.deb; do dpkg -x "$d" ..; done)
	rm -rf "$dir/debs"
	touch "$dir/done"
}

# glewlwyd, an identity provider, would make a system account, a database and
# questions of debconf: only its program is used, so it is unpacked below .tools.
glewlwyd() {
	dir=$(cd "$(dirname "$0")/.." && pwd)/.tools/glewlwyd
	[ ! -e "$dir/done" ] || return 0
	echo "deps: unpacking Debian's glewlwyd into $dir" >&2
	rm -rf "$dir" && mkdir -p "$dir/debs"
	(cd "$dir/debs" && for try in 1 2 3; do
		apt-get download -q glewlwyd >log 2>&1 && break
		[ $try != 3 ] || { cat log >&2; exit 1; }
		sleep 5
	done
	for d in *.deb; do dpkg -x "$d" ..; done)
	rm -rf "$dir/debs"
	touch "$dir/done"
}

# unpack is what a purpose needs beyond packages.
unpack() {
	case $1 in
	clients) nodepg && "$(dirname "$0")/tools/postgres.sh" 16 >/dev/null && "$(dirname "$0")/tools/postgres.sh" 18 >/dev/null ;;
	test) glewlwyd && "$(dirname "$0")/tools/versitygw.sh" >/dev/null ;;
	esac
}

missing=
for p in $want; do
	case "$(dpkg-query -W -f='${Status}' "$p" 2>/dev/null || true)" in
	"install ok installed") ;;
	*)
		# A machine may have the program from elsewhere: that will do.
		case $p in
		gcc) command -v gcc >/dev/null 2>&1 && continue ;;
		nodejs) command -v node >/dev/null 2>&1 && continue ;;
		npm) command -v npm >/dev/null 2>&1 && continue ;;
		default-jdk-headless) command -v javac >/dev/null 2>&1 && continue ;;
		esac
		missing="$missing $p"
		;;
	esac
done
if [ -z "$missing" ]; then
	unpack "$1"
	exit 0
fi

echo "deps: make $1 needs these Debian packages, which are not installed:$missing" >&2
if ! command -v apt-get >/dev/null 2>&1; then
	echo "deps: there is no apt-get here; please install what they contain by your own means" >&2
	exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		echo "deps: not root and no sudo here; please run: apt-get install$missing" >&2
		exit 1
	fi
	sudo=sudo
	echo "deps: installing them with sudo (nothing else here runs as root)" >&2
fi

# The one way to tell Debian not to start services; ours only while we install.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
	$sudo chmod 755 $policy
	trap '$sudo rm -f $policy' EXIT
fi
log=$(mktemp)
for try in 1 2 3; do
	if $sudo apt-get update -q >"$log" 2>&1 &&
		# shellcheck disable=SC2086 # a list of words
		$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >>"$log" 2>&1; then
		rm -f "$log"
		echo "deps: installed" >&2
		unpack "$1"
		exit 0
	fi
	[ $try = 3 ] || sleep 5 # a mirror hiccup, or another apt-get that holds the lock
done
tail -n 30 "$log" >&2
echo "deps: apt-get failed; its whole output is in $log" >&2
exit 1
