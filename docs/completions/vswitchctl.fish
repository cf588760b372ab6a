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
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "add-fdb" -d 'Bind an address to a port (static entry)'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "del-fdb" -d 'Remove an entry, static or learned'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "flush-fdb" -d 'Forget learned addresses'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "show" -d 'Show switches and ports, or one list in full'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "status" -d 'Show the daemon at a glance'
complete -c vswitchctl -n "__fish_vswitchctl_needs_command" -f -a "monitor" -d 'Print events as they happen'
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
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l enabled -d 'Carry frames, or drop them all' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -l disabled -d 'Drop all frames for now (same as the setting enabled = false)'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand set-port" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-port" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-port" -l if-exists -d 'Do nothing when the port does not exist'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-port" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand del-port" -s V -l version -d 'Print version'
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
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb vlans drops workers" -l watch -d 'Print again every SECONDS until interrupted' -r
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb vlans drops workers" -l socket -d 'Control socket of the daemon' -r -F
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb vlans drops workers" -l json -d 'Print JSON; the fields are documented in docs/json.md and stay'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb vlans drops workers" -s h -l help -d 'Print help'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb vlans drops workers" -s V -l version -d 'Print version'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb vlans drops workers" -f -a "switches" -d 'Switches, their settings and how full their tables are'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb vlans drops workers" -f -a "ports" -d 'Ports, their links and counters'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb vlans drops workers" -f -a "fdb" -d 'Addresses and where they are'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb vlans drops workers" -f -a "vlans" -d 'VLANs and their ports'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb vlans drops workers" -f -a "drops" -d 'Dropped frames by port and reason'
complete -c vswitchctl -n "__fish_vswitchctl_using_subcommand show; and not __fish_seen_subcommand_from switches ports fdb vlans drops workers" -f -a "workers" -d 'Worker threads and their load'
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
