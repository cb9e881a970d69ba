#!/bin/sh
# versitygw.sh: builds the object store of the tests below .tools, if it is not
# there yet, and prints the program's path. A clean build takes about a minute
# on two cores; without optimisation, since compiling it costs more than running it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tools=$(cd "$here/../.." && pwd)/.tools
sum=$(cat "$here"/versitygw/go.mod "$here"/versitygw/go.sum "$here"/versitygw/*.go | sha256sum | cut -c1-16)
program=$tools/versitygw-$sum
mkdir -p "$tools"
exec 9>"$tools/versitygw.lock"
flock 9 # several tests may want it at once
if [ ! -x "$program" ]; then
	echo "versitygw: building it into $program" >&2
	cd "$here/versitygw"
	GOFLAGS='' GOWORK=off go build -gcflags='all=-N -l' -ldflags='-s -w' -o "$program.new" . >&2
	mv "$program.new" "$program"
fi
echo "$program"
