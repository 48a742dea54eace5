"""Carries messages of topics between servers: Redis, NATS, or a Unix socket on one machine.

`Bridge` runs for a server and speaks with an engine, the client of a message server;
`engines` makes one from a URL. `envelope` is what is carried, and finds out what was missed.
"""
