"""Decides where handlers run: in a shared thread (the hub), in their own, or in an event loop.

`check` finds out whether a handler can share a thread; `placement` decides.
"""
