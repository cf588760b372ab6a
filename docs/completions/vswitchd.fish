complete -c vswitchd -l config -d 'Configuration to start with while nothing is stored in the state directory' -r -F
complete -c vswitchd -l socket -d 'Socket for vswitchctl' -r -F
complete -c vswitchd -l state-dir -d 'Where the running configuration is kept' -r -F
complete -c vswitchd -l log -d 'What to log: error, warn, info, debug, trace, or a filter such as `info,netdev=debug`' -r
complete -c vswitchd -l print-schema -d 'Print the JSON schema of the configuration and end'
complete -c vswitchd -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vswitchd -s V -l version -d 'Print version'
