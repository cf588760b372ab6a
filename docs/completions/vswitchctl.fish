# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_vswitchctl_global_optspecs
    string join \n socket= h/help V/version
end

function __fish_vswitchctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_vswitchctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_vswitchctl_using_subcommand
    set -l cmd (__fish_vswitchctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "add-switch" -d 'Add a switch'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "set-switch" -d 'Change settings of a switch'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "del-switch" -d 'Remove a switch with its ports and static entries'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "add-port" -d 'Add a port to a switch'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "set-port" -d 'Change settings of a port'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "del-port" -d 'Remove a port and its static entries'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "add-bond" -d 'Add a bond (several devices used as one) to a switch'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "set-bond" -d 'Change options of a bond; its other settings are those of set-port'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "add-member" -d 'Add a member to a bond'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "del-member" -d 'Remove a member from a bond'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "set-active" -d 'Make a member of a bond the active one'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "bond-explain" -d 'Say which member of a bond a flow takes, and why'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "add-router" -d 'Add a router'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "set-router" -d 'Change settings of a router'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "del-router" -d 'Remove a router, and the ports that are its alone'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "add-interface" -d 'Add an interface to a router'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "set-interface" -d 'Change settings of an interface'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "del-interface" -d 'Remove an interface, and the port that is its alone'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "add-route" -d 'Add a route'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "del-route" -d 'Remove routes to a network'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "add-neighbor" -d 'Bind a neighbor\'s address to its MAC address'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "del-neighbor" -d 'Remove what add-neighbor added'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "add-forward" -d 'Forward a port to a host behind the router'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "del-forward" -d 'No longer forward a port'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "add-fdb" -d 'Bind an address to a port (static entry)'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "del-fdb" -d 'Remove an entry, static or learned'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "flush-fdb" -d 'Forget learned addresses'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "iptables" -d 'Rules of a router for IPv4, in the language of iptables'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "iptables-save" -d 'Print the rules of a router for IPv4, for iptables-restore'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "iptables-restore" -d 'Replace the rules of a router for IPv4 by those on standard input'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "ip6tables" -d 'Rules of a router for IPv6'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "ip6tables-save" -d 'Print the rules of a router for IPv6, for ip6tables-restore'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "ip6tables-restore" -d 'Replace the rules of a router for IPv6 by those on standard input'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "ipset" -d 'Sets of addresses for the rules of a router, in the language of ipset'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "show" -d 'Show switches and ports, or one list in full'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "status" -d 'Show the daemon at a glance'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "monitor" -d 'Print events as they happen'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "conntrack" -d 'List, count, watch and delete tracked connections, as conntrack(8) does'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "check" -d 'Check a configuration file; needs no daemon'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "apply" -d 'Replace the whole configuration by that of a file'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "export" -d 'Print the running configuration as TOML'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "sim" -d 'Send and receive frames at in-memory ports'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-switch" -l ageing-time -d 'Forget an address after this idle time, such as 300s or 5m [default: 300s]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-switch" -l hub -d 'Flood every frame and learn no address [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-switch" -l fdb-size -d 'Addresses the table holds at most [default: 65536]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-switch" -l group-fwd-mask -d 'Bit n lets frames to the reserved group address 01:80:c2:00:00:0n pass (n from 3 to 15) [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-switch" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-switch" -l host-port -d 'Add a host port of the same name too: an interface through which the host itself takes part'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-switch" -l may-exist -d 'Do nothing when the switch exists'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-switch" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-switch" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-switch" -l default -d 'Reset a setting to its default; may be repeated' -r -f -a "ageing_time\t''
hub\t''
fdb_size\t''
group_fwd_mask\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-switch" -l ageing-time -d 'Forget an address after this idle time, such as 300s or 5m [default: 300s]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-switch" -l hub -d 'Flood every frame and learn no address [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-switch" -l fdb-size -d 'Addresses the table holds at most [default: 65536]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-switch" -l group-fwd-mask -d 'Bit n lets frames to the reserved group address 01:80:c2:00:00:0n pass (n from 3 to 15) [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-switch" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-switch" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-switch" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-switch" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-switch" -l if-exists -d 'Do nothing when the switch does not exist'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-switch" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-switch" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l nic -d 'An existing Ethernet interface: a physical one, a veth end, a VM\'s tap' -r -f
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l vhost-user -d 'The rings of a virtual machine, without the kernel in the way; PATH is the socket' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l patch -d 'One end of a link to another switch of this daemon; PEER is the port at the other end' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l access -d 'Access port: untagged frames belong to this VLAN' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l trunk -d 'Trunk port: VLANs that pass with their tag, such as 10,20-30' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l qinq -d '802.1ad tunnel port: every frame travels in this service VLAN' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l native -d 'Trunk port: VLAN of untagged frames' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l native-tagged -d 'Trunk port: the native VLAN leaves with a tag [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l cvlans -d 'Tunnel port: customer VLANs that may enter [default: all]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l qinq-ethertype -d 'Tunnel port: kind of the service tag [default: 802.1ad]' -r -f -a "802.1ad\t''
802.1q\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l accept-tagged -d 'Access port: which tagged frames may enter: none, or those of the port\'s own VLAN [default: none]' -r -f -a "none\t''
own\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l priority-tags -d 'Whether frames outside VLANs leave with a priority tag [default: if-nonzero without VLAN settings, else never]' -r -f -a "never\t''
if-nonzero\t''
always\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l netns -d 'Network namespace of the interface: a name under /run/netns, or a path' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l interface -d 'Name of the interface when it is not the port\'s' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l socket-path -d 'vhost-user: path of the socket' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l socket-mode -d 'vhost-user: who makes the socket, the daemon (server) or the VMM (client) [default: server]' -r -f -a "server\t''
client\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l socket-group -d 'vhost-user: group that may connect to the socket the daemon makes [default: only root and the daemon\'s user]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l mtu -d 'Octets of payload at most; an oversize frame is dropped [default: 1500]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l mac -d 'MAC address of the TAP interface' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l queues -d 'Number of queues, for more than one worker [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l offload -d 'Checksum and segmentation offload [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l ring-size -d 'Octets of the receive ring of a nic port, such as 2MiB [default: 2MiB]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l tx-queue -d 'Whether a nic port sends past the queueing discipline of its interface [default: bypass]' -r -f -a "bypass\t''
qdisc\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l learning -d 'Learn source addresses [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l learn-limit -d 'Addresses learned here at most [default: no limit]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l sticky -d 'Addresses learned here do not move to other ports [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l flood -d 'Flood unicast frames with unknown destination to here [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l mcast-flood -d 'Flood multicast frames to here [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l bcast-flood -d 'Flood broadcast frames to here [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l hairpin -d 'Let frames leave where they came from [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l isolated -d 'No frames between this and other isolated ports [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l conntrack-limit -d 'Tracked flows that frames from here may have begun at most [default: half of the table]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l may-exist -d 'Do nothing when the switch has this port already, of the same kind'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l tap -d 'A TAP interface that the daemon makes, named like the port'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l host -d 'The interface through which the host itself takes part; its MAC address is stable'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l sim -d 'A port in memory, for trying things out (see sim)'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l server -d 'The daemon makes the socket of --vhost-user, and the VMM connects (the default)'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l client -d 'The VMM makes the socket of --vhost-user, and the daemon connects'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -l disabled -d 'Drop all frames for now (same as the setting enabled = false)'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-port" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l default -d 'Reset a setting to its default; may be repeated' -r -f -a "access\t''
trunk\t''
native\t''
native_tagged\t''
qinq\t''
cvlans\t''
qinq_ethertype\t''
accept_tagged\t''
priority_tags\t''
netns\t''
interface\t''
socket_path\t''
socket_mode\t''
socket_group\t''
mtu\t''
mac\t''
queues\t''
offload\t''
ring_size\t''
tx_queue\t''
learning\t''
learn_limit\t''
sticky\t''
flood\t''
mcast_flood\t''
bcast_flood\t''
hairpin\t''
isolated\t''
conntrack_limit\t''
enabled\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l access -d 'Access port: untagged frames belong to this VLAN' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l trunk -d 'Trunk port: VLANs that pass with their tag, such as 10,20-30' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l qinq -d '802.1ad tunnel port: every frame travels in this service VLAN' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l native -d 'Trunk port: VLAN of untagged frames' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l native-tagged -d 'Trunk port: the native VLAN leaves with a tag [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l cvlans -d 'Tunnel port: customer VLANs that may enter [default: all]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l qinq-ethertype -d 'Tunnel port: kind of the service tag [default: 802.1ad]' -r -f -a "802.1ad\t''
802.1q\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l accept-tagged -d 'Access port: which tagged frames may enter: none, or those of the port\'s own VLAN [default: none]' -r -f -a "none\t''
own\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l priority-tags -d 'Whether frames outside VLANs leave with a priority tag [default: if-nonzero without VLAN settings, else never]' -r -f -a "never\t''
if-nonzero\t''
always\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l netns -d 'Network namespace of the interface: a name under /run/netns, or a path' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l interface -d 'Name of the interface when it is not the port\'s' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l socket-path -d 'vhost-user: path of the socket' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l socket-mode -d 'vhost-user: who makes the socket, the daemon (server) or the VMM (client) [default: server]' -r -f -a "server\t''
client\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l socket-group -d 'vhost-user: group that may connect to the socket the daemon makes [default: only root and the daemon\'s user]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l mtu -d 'Octets of payload at most; an oversize frame is dropped [default: 1500]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l mac -d 'MAC address of the TAP interface' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l queues -d 'Number of queues, for more than one worker [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l offload -d 'Checksum and segmentation offload [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l ring-size -d 'Octets of the receive ring of a nic port, such as 2MiB [default: 2MiB]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l tx-queue -d 'Whether a nic port sends past the queueing discipline of its interface [default: bypass]' -r -f -a "bypass\t''
qdisc\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l learning -d 'Learn source addresses [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l learn-limit -d 'Addresses learned here at most [default: no limit]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l sticky -d 'Addresses learned here do not move to other ports [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l flood -d 'Flood unicast frames with unknown destination to here [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l mcast-flood -d 'Flood multicast frames to here [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l bcast-flood -d 'Flood broadcast frames to here [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l hairpin -d 'Let frames leave where they came from [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l isolated -d 'No frames between this and other isolated ports [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l conntrack-limit -d 'Tracked flows that frames from here may have begun at most [default: half of the table]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l enabled -d 'Carry frames, or drop them all' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l disabled -d 'Drop all frames for now (same as the setting enabled = false)'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-port" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-port" -l if-exists -d 'Do nothing when the port does not exist'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-port" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-port" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l member -d 'A member: an existing interface, or tap:NAME or sim:NAME; may be repeated. add-member has more settings' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l team-config -d 'Take mode and options from a configuration of teamd (JSON)' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l mode -d 'How members are used [default: balance-rr]' -r -f -a "balance-rr\t''
active-backup\t''
balance-xor\t''
broadcast\t''
802.3ad\t''
balance-tlb\t''
balance-alb\t''
random\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l miimon -d 'Grain of updelay, downdelay and peer_notif_delay; 0 turns monitoring by carrier off [default: 100, or 0 with arp_interval]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l updelay -d 'How long a carrier must be back before the member is used again [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l downdelay -d 'How long a carrier must be gone before the member is given up [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l use-carrier -d 'Only 1' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l arp-interval -d 'How often targets are asked; 0 turns monitoring by ARP off [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l arp-ip-target -d 'IPv4 addresses that are asked, separated by commas' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l ns-ip6-target -d 'IPv6 addresses that are asked, separated by commas' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l arp-source -d 'Source address of ARP probes [default: the host port\'s, or 0.0.0.0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l arp-validate -d 'Which frames prove that a member is alive [default: none]' -r -f -a "none\t''
active\t''
backup\t''
all\t''
filter\t''
filter_active\t''
filter_backup\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l arp-all-targets -d 'Whether any or all targets must answer [default: any]' -r -f -a "any\t''
all\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l missed-max -d 'Intervals without answer after which a member is down [default: 2]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l primary -d 'The member that is preferred' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l primary-reselect -d 'When the preferred member takes over again [default: always]' -r -f -a "always\t''
better\t''
failure\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l fail-over-mac -d 'What becomes of MAC addresses at a failover [default: none]' -r -f -a "none\t''
active\t''
follow\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l num-grat-arp -d 'How often neighbours are told after a failover [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l num-unsol-na -d 'The same option as num-grat-arp' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l peer-notif-delay -d 'Time between two such notifications; 0 is miimon [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l resend-igmp -d 'How often IGMP reports are sent again after a failover [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l all-slaves-active -d 'Accept every frame at members that are not in use [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l min-links -d 'Members that must be usable for the bond to have a carrier [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l lp-interval -d 'Seconds between learning frames of balance-tlb and balance-alb [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l packets-per-slave -d 'balance-rr: frames before the next member\'s turn; 0 chooses by chance [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l tlb-dynamic-lb -d 'balance-tlb: move flows to less loaded members [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l xmit-hash-policy -d 'Which parts of a frame decide on its member [default: layer2]' -r -f -a "layer2\t''
layer2+3\t''
layer3+4\t''
encap2+3\t''
encap3+4\t''
vlan+srcmac\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l tx-balancing-interval -d 'balance-xor: how often flows move to less loaded members; 0 never [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l lacp-rate -d '802.3ad: how often the partner is asked to send [default: slow]' -r -f -a "slow\t''
fast\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l lacp-active -d '802.3ad: send without being asked [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l ad-select -d '802.3ad: which aggregator is active [default: stable]' -r -f -a "stable\t''
bandwidth\t''
count\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l ad-actor-sys-prio -d '802.3ad: priority of this system [default: 65535]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l ad-actor-system -d '802.3ad: address of this system [default: the bond\'s]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l ad-user-port-key -d '802.3ad: upper ten bits of the port key [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l lacp-fallback -d '802.3ad: behave as active-backup while there is no partner [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l access -d 'Access port: untagged frames belong to this VLAN' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l trunk -d 'Trunk port: VLANs that pass with their tag, such as 10,20-30' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l qinq -d '802.1ad tunnel port: every frame travels in this service VLAN' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l native -d 'Trunk port: VLAN of untagged frames' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l native-tagged -d 'Trunk port: the native VLAN leaves with a tag [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l cvlans -d 'Tunnel port: customer VLANs that may enter [default: all]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l qinq-ethertype -d 'Tunnel port: kind of the service tag [default: 802.1ad]' -r -f -a "802.1ad\t''
802.1q\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l accept-tagged -d 'Access port: which tagged frames may enter: none, or those of the port\'s own VLAN [default: none]' -r -f -a "none\t''
own\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l priority-tags -d 'Whether frames outside VLANs leave with a priority tag [default: if-nonzero without VLAN settings, else never]' -r -f -a "never\t''
if-nonzero\t''
always\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l netns -d 'Network namespace of the interface: a name under /run/netns, or a path' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l interface -d 'Name of the interface when it is not the port\'s' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l socket-path -d 'vhost-user: path of the socket' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l socket-mode -d 'vhost-user: who makes the socket, the daemon (server) or the VMM (client) [default: server]' -r -f -a "server\t''
client\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l socket-group -d 'vhost-user: group that may connect to the socket the daemon makes [default: only root and the daemon\'s user]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l mtu -d 'Octets of payload at most; an oversize frame is dropped [default: 1500]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l mac -d 'MAC address of the TAP interface' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l queues -d 'Number of queues, for more than one worker [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l offload -d 'Checksum and segmentation offload [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l ring-size -d 'Octets of the receive ring of a nic port, such as 2MiB [default: 2MiB]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l tx-queue -d 'Whether a nic port sends past the queueing discipline of its interface [default: bypass]' -r -f -a "bypass\t''
qdisc\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l learning -d 'Learn source addresses [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l learn-limit -d 'Addresses learned here at most [default: no limit]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l sticky -d 'Addresses learned here do not move to other ports [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l flood -d 'Flood unicast frames with unknown destination to here [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l mcast-flood -d 'Flood multicast frames to here [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l bcast-flood -d 'Flood broadcast frames to here [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l hairpin -d 'Let frames leave where they came from [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l isolated -d 'No frames between this and other isolated ports [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l conntrack-limit -d 'Tracked flows that frames from here may have begun at most [default: half of the table]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l may-exist -d 'Do nothing when the switch has this bond already'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -l disabled -d 'Drop all frames for now (same as the setting enabled = false)'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-bond" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l default -d 'Reset an option to its default; may be repeated' -r -f -a "mode\t''
miimon\t''
updelay\t''
downdelay\t''
use_carrier\t''
arp_interval\t''
arp_ip_target\t''
ns_ip6_target\t''
arp_source\t''
arp_validate\t''
arp_all_targets\t''
missed_max\t''
primary\t''
primary_reselect\t''
fail_over_mac\t''
num_grat_arp\t''
num_unsol_na\t''
peer_notif_delay\t''
resend_igmp\t''
all_slaves_active\t''
min_links\t''
lp_interval\t''
packets_per_slave\t''
tlb_dynamic_lb\t''
xmit_hash_policy\t''
tx_balancing_interval\t''
lacp_rate\t''
lacp_active\t''
ad_select\t''
ad_actor_sys_prio\t''
ad_actor_system\t''
ad_user_port_key\t''
lacp_fallback\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l mode -d 'How members are used [default: balance-rr]' -r -f -a "balance-rr\t''
active-backup\t''
balance-xor\t''
broadcast\t''
802.3ad\t''
balance-tlb\t''
balance-alb\t''
random\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l miimon -d 'Grain of updelay, downdelay and peer_notif_delay; 0 turns monitoring by carrier off [default: 100, or 0 with arp_interval]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l updelay -d 'How long a carrier must be back before the member is used again [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l downdelay -d 'How long a carrier must be gone before the member is given up [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l use-carrier -d 'Only 1' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l arp-interval -d 'How often targets are asked; 0 turns monitoring by ARP off [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l arp-ip-target -d 'IPv4 addresses that are asked, separated by commas' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l ns-ip6-target -d 'IPv6 addresses that are asked, separated by commas' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l arp-source -d 'Source address of ARP probes [default: the host port\'s, or 0.0.0.0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l arp-validate -d 'Which frames prove that a member is alive [default: none]' -r -f -a "none\t''
active\t''
backup\t''
all\t''
filter\t''
filter_active\t''
filter_backup\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l arp-all-targets -d 'Whether any or all targets must answer [default: any]' -r -f -a "any\t''
all\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l missed-max -d 'Intervals without answer after which a member is down [default: 2]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l primary -d 'The member that is preferred' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l primary-reselect -d 'When the preferred member takes over again [default: always]' -r -f -a "always\t''
better\t''
failure\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l fail-over-mac -d 'What becomes of MAC addresses at a failover [default: none]' -r -f -a "none\t''
active\t''
follow\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l num-grat-arp -d 'How often neighbours are told after a failover [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l num-unsol-na -d 'The same option as num-grat-arp' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l peer-notif-delay -d 'Time between two such notifications; 0 is miimon [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l resend-igmp -d 'How often IGMP reports are sent again after a failover [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l all-slaves-active -d 'Accept every frame at members that are not in use [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l min-links -d 'Members that must be usable for the bond to have a carrier [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l lp-interval -d 'Seconds between learning frames of balance-tlb and balance-alb [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l packets-per-slave -d 'balance-rr: frames before the next member\'s turn; 0 chooses by chance [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l tlb-dynamic-lb -d 'balance-tlb: move flows to less loaded members [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l xmit-hash-policy -d 'Which parts of a frame decide on its member [default: layer2]' -r -f -a "layer2\t''
layer2+3\t''
layer3+4\t''
encap2+3\t''
encap3+4\t''
vlan+srcmac\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l tx-balancing-interval -d 'balance-xor: how often flows move to less loaded members; 0 never [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l lacp-rate -d '802.3ad: how often the partner is asked to send [default: slow]' -r -f -a "slow\t''
fast\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l lacp-active -d '802.3ad: send without being asked [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l ad-select -d '802.3ad: which aggregator is active [default: stable]' -r -f -a "stable\t''
bandwidth\t''
count\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l ad-actor-sys-prio -d '802.3ad: priority of this system [default: 65535]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l ad-actor-system -d '802.3ad: address of this system [default: the bond\'s]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l ad-user-port-key -d '802.3ad: upper ten bits of the port key [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l lacp-fallback -d '802.3ad: behave as active-backup while there is no partner [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-bond" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-member" -l prio -d 'Preference as active member; the highest wins [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-member" -l netns -d 'Network namespace of the interface: a name under /run/netns, or a path' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-member" -l interface -d 'Name of the interface when it is not the member\'s' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-member" -l queues -d 'Number of queues, for more than one worker [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-member" -l offload -d 'Checksum and segmentation offload [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-member" -l ring-size -d 'Octets of the receive ring, such as 2MiB [default: 2MiB]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-member" -l tx-queue -d 'Whether frames leave past the queueing discipline of the interface [default: bypass]' -r -f -a "bypass\t''
qdisc\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-member" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-member" -l may-exist -d 'Do nothing when it is a member already'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-member" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-member" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-member" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-member" -l if-exists -d 'Do nothing when it is not a member'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-member" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-member" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-active" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-active" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-active" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand bond-explain" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand bond-explain" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand bond-explain" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand bond-explain" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l forwarding -d 'Pass packets on between interfaces [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l rp-filter -d 'Reverse path filter of every interface: 0 none, 1 strict, 2 loose [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l ip-default-ttl -d 'Hop limit of packets that the router makes itself [default: 64]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l icmp-ratelimit -d 'Milliseconds between two ICMP errors to the same host; 0 does not limit them [default: 1000]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l icmp-ratemask -d 'Bit n limits ICMP messages of type n [default: 6168]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l icmp-msgs-per-sec -d 'Limited ICMP messages a second, for all hosts together [default: 1000]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l icmp-msgs-burst -d 'How many of them may come at once [default: 50]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l icmp-echo-ignore-all -d 'Answer no echo requests [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l ipfrag-time -d 'How long fragments of IPv4 wait for the others of their packet [default: 30s]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l conntrack -d 'A setting of connection tracking: a sysctl without net.netfilter.nf_conntrack_, such as udp_timeout=60s; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l nat -d 'A setting of address translation, such as filtering=endpoint-independent; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l ipv4-neigh -d 'A timer or limit of neighbors by ARP: a sysctl without net.ipv4.neigh.default., such as gc_thresh3=4096; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l ipv6-neigh -d 'The same for IPv6, by neighbor discovery; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l set -d 'A setting by its name; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -l may-exist -d 'Do nothing when the router exists'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-router" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l default -d 'Reset a setting to its default, such as forwarding or conntrack.udp_timeout; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l forwarding -d 'Pass packets on between interfaces [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l rp-filter -d 'Reverse path filter of every interface: 0 none, 1 strict, 2 loose [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l ip-default-ttl -d 'Hop limit of packets that the router makes itself [default: 64]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l icmp-ratelimit -d 'Milliseconds between two ICMP errors to the same host; 0 does not limit them [default: 1000]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l icmp-ratemask -d 'Bit n limits ICMP messages of type n [default: 6168]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l icmp-msgs-per-sec -d 'Limited ICMP messages a second, for all hosts together [default: 1000]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l icmp-msgs-burst -d 'How many of them may come at once [default: 50]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l icmp-echo-ignore-all -d 'Answer no echo requests [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l ipfrag-time -d 'How long fragments of IPv4 wait for the others of their packet [default: 30s]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l conntrack -d 'A setting of connection tracking: a sysctl without net.netfilter.nf_conntrack_, such as udp_timeout=60s; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l nat -d 'A setting of address translation, such as filtering=endpoint-independent; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l ipv4-neigh -d 'A timer or limit of neighbors by ARP: a sysctl without net.ipv4.neigh.default., such as gc_thresh3=4096; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l ipv6-neigh -d 'The same for IPv6, by neighbor discovery; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l set -d 'A setting by its name; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-router" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-router" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-router" -l if-exists -d 'Do nothing when the router does not exist'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-router" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-router" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l switch -d 'On this switch' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l nic -d 'On an existing Ethernet interface, which becomes a port for the router alone' -r -f
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l tap -d 'On a TAP interface that the daemon makes, a port for the router alone' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l bond -d 'On a new bond of this name, a port for the router alone; see --member' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l vhost-user -d 'On the rings of a virtual machine, a port for the router alone that is named like the interface; PATH is the socket' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l sim -d 'On a new port in memory (see sim)' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l port -d 'On this port, which an interface of the router is on already' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l netns -d 'Network namespace of the Ethernet interfaces of --nic, --tap or --member' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l member -d 'A member of --bond: an existing interface, or tap:NAME or sim:NAME; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l vlan -d 'Its VLAN [default: frames without one]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l address -d 'An address with the length of its network\'s prefix; may be repeated. With set-interface, all addresses from now on' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l mtu -d 'Octets of an IP packet that leaves here at most [default: 1500]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l mac -d 'MAC address [default: a stable one]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l enabled -d 'Take part, or not [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l rp-filter -d 'Reverse path filter: 0 none, 1 strict, 2 loose [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l proxy-arp -d 'Answer ARP requests for hosts behind other interfaces [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l proxy-arp-pvlan -d 'Answer ARP requests for hosts behind this interface too [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l proxy-ndp -d 'An IPv6 address for which neighbor solicitations are answered; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l ipv4-neigh -d 'A timer or limit of neighbors by ARP that differs from the router\'s, such as base_reachable_time=60s; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l ipv6-neigh -d 'The same for IPv6, by neighbor discovery; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l mode -d 'How members are used [default: balance-rr]' -r -f -a "balance-rr\t''
active-backup\t''
balance-xor\t''
broadcast\t''
802.3ad\t''
balance-tlb\t''
balance-alb\t''
random\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l miimon -d 'Grain of updelay, downdelay and peer_notif_delay; 0 turns monitoring by carrier off [default: 100, or 0 with arp_interval]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l updelay -d 'How long a carrier must be back before the member is used again [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l downdelay -d 'How long a carrier must be gone before the member is given up [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l use-carrier -d 'Only 1' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l arp-interval -d 'How often targets are asked; 0 turns monitoring by ARP off [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l arp-ip-target -d 'IPv4 addresses that are asked, separated by commas' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l ns-ip6-target -d 'IPv6 addresses that are asked, separated by commas' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l arp-source -d 'Source address of ARP probes [default: the host port\'s, or 0.0.0.0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l arp-validate -d 'Which frames prove that a member is alive [default: none]' -r -f -a "none\t''
active\t''
backup\t''
all\t''
filter\t''
filter_active\t''
filter_backup\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l arp-all-targets -d 'Whether any or all targets must answer [default: any]' -r -f -a "any\t''
all\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l missed-max -d 'Intervals without answer after which a member is down [default: 2]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l primary -d 'The member that is preferred' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l primary-reselect -d 'When the preferred member takes over again [default: always]' -r -f -a "always\t''
better\t''
failure\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l fail-over-mac -d 'What becomes of MAC addresses at a failover [default: none]' -r -f -a "none\t''
active\t''
follow\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l num-grat-arp -d 'How often neighbours are told after a failover [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l num-unsol-na -d 'The same option as num-grat-arp' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l peer-notif-delay -d 'Time between two such notifications; 0 is miimon [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l resend-igmp -d 'How often IGMP reports are sent again after a failover [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l all-slaves-active -d 'Accept every frame at members that are not in use [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l min-links -d 'Members that must be usable for the bond to have a carrier [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l lp-interval -d 'Seconds between learning frames of balance-tlb and balance-alb [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l packets-per-slave -d 'balance-rr: frames before the next member\'s turn; 0 chooses by chance [default: 1]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l tlb-dynamic-lb -d 'balance-tlb: move flows to less loaded members [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l xmit-hash-policy -d 'Which parts of a frame decide on its member [default: layer2]' -r -f -a "layer2\t''
layer2+3\t''
layer3+4\t''
encap2+3\t''
encap3+4\t''
vlan+srcmac\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l tx-balancing-interval -d 'balance-xor: how often flows move to less loaded members; 0 never [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l lacp-rate -d '802.3ad: how often the partner is asked to send [default: slow]' -r -f -a "slow\t''
fast\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l lacp-active -d '802.3ad: send without being asked [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l ad-select -d '802.3ad: which aggregator is active [default: stable]' -r -f -a "stable\t''
bandwidth\t''
count\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l ad-actor-sys-prio -d '802.3ad: priority of this system [default: 65535]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l ad-actor-system -d '802.3ad: address of this system [default: the bond\'s]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l ad-user-port-key -d '802.3ad: upper ten bits of the port key [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l lacp-fallback -d '802.3ad: behave as active-backup while there is no partner [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l client -d 'The VMM makes the socket of --vhost-user, and the daemon connects [default: the other way round]'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -l may-exist -d 'Do nothing when the router has this interface already, at the same place'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-interface" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l default -d 'Reset a setting to its default, such as mtu or ipv4_neigh.retrans_time; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l switch -d 'Move it to this switch' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l port -d 'Move it to this port, which belongs to no switch' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l vlan -d 'Its VLAN [default: frames without one]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l address -d 'An address with the length of its network\'s prefix; may be repeated. With set-interface, all addresses from now on' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l mtu -d 'Octets of an IP packet that leaves here at most [default: 1500]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l mac -d 'MAC address [default: a stable one]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l enabled -d 'Take part, or not [default: on]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l rp-filter -d 'Reverse path filter: 0 none, 1 strict, 2 loose [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l proxy-arp -d 'Answer ARP requests for hosts behind other interfaces [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l proxy-arp-pvlan -d 'Answer ARP requests for hosts behind this interface too [default: off]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l proxy-ndp -d 'An IPv6 address for which neighbor solicitations are answered; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l ipv4-neigh -d 'A timer or limit of neighbors by ARP that differs from the router\'s, such as base_reachable_time=60s; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l ipv6-neigh -d 'The same for IPv6, by neighbor discovery; may be repeated' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-interface" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-interface" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-interface" -l if-exists -d 'Do nothing when it does not exist'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-interface" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-interface" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-route" -l via -d 'The next router' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-route" -l dev -d 'The interface' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-route" -l metric -d 'Of routes to the same network that with the lowest number counts [default: 0]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-route" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-route" -l blackhole -d 'Drop the packets silently'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-route" -l reject -l unreachable -d 'Drop the packets, and tell senders that the destination is unreachable'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-route" -l prohibit -d 'Drop the packets, and tell senders that it is prohibited'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-route" -l may-exist -d 'Replace a route to the same network with the same metric'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-route" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-route" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-route" -l via -d 'Only that by this next router' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-route" -l metric -d 'Only that with this metric' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-route" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-route" -l if-exists -d 'Do nothing when there is none'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-route" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-route" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-neighbor" -l lladdr -d 'Its MAC address' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-neighbor" -l dev -d 'The interface it is behind' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-neighbor" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-neighbor" -l may-exist -d 'Replace an entry for the same address'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-neighbor" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-neighbor" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-neighbor" -l dev -d 'Behind this interface only' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-neighbor" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-neighbor" -l if-exists -d 'Do nothing when there is none'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-neighbor" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-neighbor" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-forward" -l address -d 'The external address [default: every address of the router]' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-forward" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-forward" -l syn-proxy -d 'tcp: answer SYNs with cookies, so that the host sees only clients that exist'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-forward" -l may-exist -d 'When the port is forwarded already, forward it to here instead'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-forward" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-forward" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-forward" -l address -d 'Only of this external address' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-forward" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-forward" -l if-exists -d 'Do nothing when there is none'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-forward" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-forward" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-fdb" -l vlan -d 'VLAN; 0 on ports without VLAN settings' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-fdb" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-fdb" -l may-exist -d 'Replace a static entry that exists'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-fdb" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand add-fdb" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-fdb" -l vlan -d 'VLAN; 0 on ports without VLAN settings' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-fdb" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-fdb" -l if-exists -d 'Do nothing when the entry does not exist'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-fdb" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-fdb" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand flush-fdb" -l port -d 'Only addresses at this port' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand flush-fdb" -l vlan -d 'Only addresses in this VLAN' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand flush-fdb" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand flush-fdb" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand flush-fdb" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand iptables" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand iptables-save" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand iptables-restore" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand ip6tables" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand ip6tables-save" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand ip6tables-restore" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand ipset" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -f -a "switches" -d 'Switches, their settings and how full their tables are'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -f -a "ports" -d 'Ports, their links and counters'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -f -a "fdb" -d 'Addresses and where they are'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -f -a "bonds" -d 'Bonds, their options, members and LACP'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -f -a "vlans" -d 'VLANs and their ports'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -f -a "drops" -d 'Dropped frames by port and reason'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -f -a "routers" -d 'Routers, their interfaces and what they have'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -f -a "interfaces" -d 'Interfaces of routers, their addresses and counters'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -f -a "routes" -d 'Routes in force'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -f -a "neighbors" -d 'Neighbors of routers: their MAC addresses and states'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -f -a "forwards" -d 'Forwarded ports'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb bonds vlans drops routers interfaces routes neighbors forwards workers" -f -a "workers" -d 'Worker threads and their load'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from switches" -l switch -d 'Only of this switch' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from switches" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from switches" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from switches" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from switches" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from switches" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from ports" -l switch -d 'Only of this switch' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from ports" -l port -d 'Only of this port' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from ports" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from ports" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from ports" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from ports" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from ports" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from fdb" -l switch -d 'Only of this switch' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from fdb" -l port -d 'Only of this port' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from fdb" -l vlan -d 'Only of this VLAN' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from fdb" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from fdb" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from fdb" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from fdb" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from fdb" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from bonds" -l switch -d 'Only of this switch' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from bonds" -l port -d 'Only of this port' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from bonds" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from bonds" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from bonds" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from bonds" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from bonds" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from vlans" -l switch -d 'Only of this switch' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from vlans" -l port -d 'Only of this port' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from vlans" -l vlan -d 'Only of this VLAN' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from vlans" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from vlans" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from vlans" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from vlans" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from vlans" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from drops" -l switch -d 'Only of this switch' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from drops" -l port -d 'Only of this port' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from drops" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from drops" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from drops" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from drops" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from drops" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from routers" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from routers" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from routers" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from routers" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from routers" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from interfaces" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from interfaces" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from interfaces" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from interfaces" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from interfaces" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from routes" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from routes" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from routes" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from routes" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from routes" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from neighbors" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from neighbors" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from neighbors" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from neighbors" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from neighbors" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from forwards" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from forwards" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from forwards" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from forwards" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from forwards" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from workers" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from workers" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from workers" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from workers" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and __fish_seen_subcommand_from workers" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand status" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand status" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand status" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand status" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand status" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand monitor" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand monitor" -l json -d 'Print one JSON object a line; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand monitor" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand monitor" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s L -l dump -d 'List the table' -r -f -a "conntrack\t'Connections'
expect\t'Connections that others announced'"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s D -l delete -d 'Delete the flows that the filters mean' -r -f -a "conntrack\t'Connections'
expect\t'Connections that others announced'"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s E -l event -d 'Print events as they happen' -r -f -a "conntrack\t'Connections'
expect\t'Connections that others announced'"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s F -l flush -d 'Delete all flows' -r -f -a "conntrack\t'Connections'
expect\t'Connections that others announced'"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s C -l count -d 'Print how many entries there are' -r -f -a "conntrack\t'Connections'
expect\t'Connections that others announced'"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s s -l src -l orig-src -d 'With this source (address or network)' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s d -l dst -l orig-dst -d 'With this destination' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s r -l reply-src -d 'Whose answers have this source' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s q -l reply-dst -d 'Whose answers have this destination' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s p -l proto -d 'Protocol, name or number' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -l sport -l orig-port-src -d 'From this port' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -l dport -l orig-port-dst -d 'To this port' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -l reply-port-src -d 'Whose answers come from this port' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -l reply-port-dst -d 'Whose answers go to this port' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -l icmp-type -l icmpv6-type -d 'Begun by an ICMP query of this type' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -l icmp-code -l icmpv6-code -d 'Of this ICMP code' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -l icmp-id -l icmpv6-id -d 'With this ICMP identifier' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -l state -d 'State of TCP or SCTP, such as ESTABLISHED' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s u -l status -d 'Status, such as ASSURED or SEEN_REPLY; several separated by commas' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s m -l mark -d 'With this mark' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s w -l zone -l orig-zone -l reply-zone -d 'In this zone' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s n -l src-nat -d 'Whose source is translated, perhaps to this address' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s g -l dst-nat -d 'Whose destination is translated, perhaps to this address' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s f -l family -d 'ipv4 or ipv6; both unless given' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s o -l output -d 'More in each line; several separated by commas' -r -f -a "extended\t'The version of IP in front'
id\t'The number of the flow behind'
timestamp\t'The time in front of an event'"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s e -l event-mask -d 'Which events (with -E)' -r -f -a "ALL\t''
NEW\t''
UPDATES\t''
DESTROY\t''"
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s S -l stats -d 'Print counters, a line a worker'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s j -l any-nat -d 'Of which either is translated'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand conntrack" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand check" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand check" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand check" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand apply" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand apply" -l dry-run -d 'Say what would change, and change nothing'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand apply" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand apply" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand export" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand export" -l json -d 'Print JSON with the same keys'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand export" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand export" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and not __fish_seen_subcommand_from send receive carrier" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and not __fish_seen_subcommand_from send receive carrier" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and not __fish_seen_subcommand_from send receive carrier" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and not __fish_seen_subcommand_from send receive carrier" -f -a "send" -d 'Give a frame to a sim port as if it had arrived there'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and not __fish_seen_subcommand_from send receive carrier" -f -a "receive" -d 'Take and print the frames that left at a sim port, one a line, hexadecimal'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and not __fish_seen_subcommand_from send receive carrier" -f -a "carrier" -d 'Set the carrier of a sim port'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and __fish_seen_subcommand_from send" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and __fish_seen_subcommand_from send" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and __fish_seen_subcommand_from send" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and __fish_seen_subcommand_from receive" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and __fish_seen_subcommand_from receive" -l json -d 'Print a JSON array of texts'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and __fish_seen_subcommand_from receive" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and __fish_seen_subcommand_from receive" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and __fish_seen_subcommand_from carrier" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and __fish_seen_subcommand_from carrier" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand sim; and __fish_seen_subcommand_from carrier" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand completions" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand completions" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand completions" -s V -l version -d 'Print version'
