"""The settings of a server: what an option means, its default, what is checked before a start.

`fastwsh.options` is the parser of the command line, and takes the options for operators from
`arguments`. `environment` and `configuration_file` are the two other places that options come from;
`named_options` takes them as keyword arguments. `config` refuses what cannot work together, with a
`ConfigError`, and `unused_options` tells of those without effect. The other modules turn one
group of options each into what the server is told.
"""
