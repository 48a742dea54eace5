"""Carries messages of topics between servers: Redis, NATS, or a Unix socket on one machine.

`Link` runs for a server and speaks with an engine, which is a connection to what carries messages;
`engines` makes one from a URL. `envelope` is what is carried, and finds out what was missed.
"""
