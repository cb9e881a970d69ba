#!/bin/bash
# git over ssh: push, clone, fetch.
. "$LIB/lib.sh"
export GIT_SSH_COMMAND=$SSH GIT_CONFIG_GLOBAL=/dev/null HOME=$PWD
export GIT_AUTHOR_NAME=alice GIT_AUTHOR_EMAIL=alice@example GIT_COMMITTER_NAME=alice GIT_COMMITTER_EMAIL=alice@example

$SSH web01 'rm -rf repo.git && git init -q --bare repo.git'
git init -q -b main a && cd a
head -c 1000000 /dev/urandom >data && git add data && git commit -qm first
git push -q web01:repo.git main
git clone -q -b main web01:repo.git ../b
cmp data ../b/data
echo more >more && git add more && git commit -qm second && git push -q web01:repo.git main
git -C ../b pull -q
same "pulled" "$(cat ../b/more)" more
