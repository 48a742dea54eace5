"""`--workers`: several processes that serve the same sockets, and the parent that starts them.

The parent serves nothing. It opens the sockets, starts each worker as a fresh process, starts
another one in the place of one that has ended, and writes the logs and answers the metrics port for
all of them. `parent` is its program, `__main__` that of a worker; `channel` is between them.
"""
