#!/bin/bash
# Prints what the real iptables makes of the rules on standard input, as in recorded.txt. Each line of the input: tool (iptables
# or ip6tables), table, and the command behind it. To be run as root; works in a network namespace of its own:
#   grep -v '^[=|~#]' recorded.txt | ./record.sh > new.txt
set -eu
if [ -z "${INSIDE:-}" ]; then INSIDE=1 exec unshare --net -- "$0"; fi
ipset create s1 hash:ip 2>/dev/null || true
for tool in iptables ip6tables; do
    for table in filter nat mangle raw; do "$tool-legacy" -t "$table" -N uc; done
done
while read -r tool table command; do
    [ -n "$tool" ] || continue
    read -r _ chain _ <<<"$command"
    eval "$tool-legacy -t $table $command"
    echo "$tool $table $command"
    echo "=$("$tool-legacy" -t "$table" -S "$chain" 1)"
    echo "|$("$tool-legacy" -t "$table" -nL "$chain" 1)"
    echo "~$("$tool-legacy" -t "$table" -L "$chain" 1)"
    "$tool-legacy" -t "$table" -F "$chain"
done
