#!/bin/bash
# A key in an agent instead of a file, and -A.
. "$LIB/lib.sh"

eval "$(ssh-agent -s)" >/dev/null
trap 'ssh-agent -k >/dev/null' EXIT
ssh-add -q "$JIT_KEY"
# The same configuration without its keys: only the agent can answer.
sed -E '/^[[:space:]]*(IdentityFile|IdentitiesOnly|IdentityAgent)[[:space:]]/Id' "$JIT_SSH_CONFIG" >config
same "key from the agent" "$(ssh -F config web01 id -un)" deploy
has "-A" "$(ssh -F config -A web01 'ssh-add -l')" "$(ssh-keygen -lf "$JIT_KEY.pub" | cut -d' ' -f2)"
