"""Handlers while they run: one connection from its opening handshake to its end.

`session` leads a connection of a handler function: `opening` is its handshake, `request` what the
handler is given, `handler_failures` what an exception of it means. `handler_concurrency` decides
in which thread that happens. `lifespan` is what handlers do before the first connection and after
the last. The session of coroutine functions is in `fastwsh.aio`.
"""
