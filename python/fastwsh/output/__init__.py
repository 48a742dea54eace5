"""What a server writes: its log, the access log, and what it tells a person at a terminal.

`logs` sets up the log and `access` the access log; both write by a `log_file` or to a terminal,
where `outlets` keeps a reader that has stopped from holding up the server. `events` are what the
native threads have to tell, and `banner` is for the terminal.
"""
