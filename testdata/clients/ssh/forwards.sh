#!/bin/bash
# -L, -R, -D, -W and a socket forward to a service behind web01.
. "$LIB/lib.sh"

# The service: a web server on a loopback port, which web01 shares with us.
service=$(port)
mkdir www && echo behind >www/page
background /usr/bin/python3 -m http.server --bind 127.0.0.1 --directory www "$service" 2>/dev/null
until_open "$service"

local=$(port)
background $SSH -N -o ExitOnForwardFailure=yes -L "$local:127.0.0.1:$service" web01
until_open "$local"
same "-L" "$(curl -s "http://127.0.0.1:$local/page")" behind

socks=$(port)
background $SSH -N -o ExitOnForwardFailure=yes -D "$socks" web01
until_open "$socks"
same "-D" "$(curl -s --socks5 "127.0.0.1:$socks" "http://127.0.0.1:$service/page")" behind

remote=$(port)
same "-R" "$($SSH -o ExitOnForwardFailure=yes -R "$remote:127.0.0.1:$service" web01 "curl -s http://127.0.0.1:$remote/page")" behind
has "-R with a port of the host's choice" "$($SSH -tt -R "0:127.0.0.1:$service" web01 true 2>&1 </dev/null)" "Allocated port"

has "-W" "$(printf 'GET /page HTTP/1.0\r\n\r\n' | $SSH -W "127.0.0.1:$service" web01)" behind

background $SSH -N -o ExitOnForwardFailure=yes -L "$PWD/socket:127.0.0.1:$service" web01
for _ in $(seq 100); do [ -S socket ] && break; sleep 0.05; done
same "from a socket" "$(curl -s --unix-socket socket "http://x/page")" behind
