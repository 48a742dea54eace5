"""Decides where handlers run: in the hub, which is a shared thread, or each in its own.

`check` finds out whether a handler can share a thread; `executor` decides.
"""
