#!/bin/bash
# ControlMaster: many sessions in one connection, and its end.
. "$LIB/lib.sh"
MUX="$SSH -o ControlPath=$PWD/mux -o ControlMaster=auto -o ControlPersist=60"

$MUX web01 true
same "master runs" "$($SSH -o ControlPath=$PWD/mux -O check web01 2>&1 | cut -d' ' -f1,2)" "Master running"
for i in $(seq 8); do
	$MUX web01 "sleep 0.2; echo $i" >"out$i" &
done
wait
same "eight sessions at once" "$(cat out? | sort | tr -d '\n')" 12345678
same "one after another" "$($MUX web01 hostname)" web01
$SSH -o ControlPath="$PWD/mux" -O exit web01 2>/dev/null
status "master gone" 255 $SSH -o ControlPath="$PWD/mux" -O check web01 2>/dev/null
