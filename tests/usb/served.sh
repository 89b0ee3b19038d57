#!/bin/bash
# served.sh BOARD h|x|usb|ulpi GEOMETRY:MEMORY COUNT HEDDLE SERVED JSON_GET: `heddle serve` with a simulated board behind a bridge (h, x) or with its own USB device,
# and random programs on it. Exit 77 without Verilator.
set -eu
board=$1 kind=$2 geometry=$3 count=$4 heddle=$5 served=$6 json_get=$7
command -v verilator >/dev/null || { echo "skipped: verilator is not installed"; exit 77; }
case $kind in usb | ulpi) link=$kind kind=n ;; *) link=bridge ;; esac
work=$(mktemp -d)
"$heddle" serve --board "$board" --geometry "${geometry%%:*}" --memory "${geometry#*:}" --port 0 --link "$link" --json >"$work/said" 2>"$work/errors" &
server=$!
trap 'kill -INT $server 2>/dev/null || true; wait $server 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 600); do
    [ -s "$work/said" ] && break
    kill -0 $server 2>/dev/null || { cat "$work/errors"; exit 1; }
    sleep 0.2
done
port=$("$json_get" port <"$work/said")
"$served" "$port" "$kind" "$geometry" "$count"
# A second time: the board is as good as new for the next client. Then Ctrl-C ends the server.
"$served" "$port" "$kind" "$geometry" 1
kill -INT $server
for _ in $(seq 50); do kill -0 $server 2>/dev/null || exit 0; sleep 0.1; done
echo "the server does not end on Ctrl-C"
exit 1
