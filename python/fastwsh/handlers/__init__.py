"""The package for the modules of handler files.

`handlers/room/chat_wsh.py`, loaded from the folder `handlers`, is `fastwsh.handlers.room.chat_wsh`.
That is the name in `__name__`, in log lines and in pickles; `from . import` finds what is beside
the file. Nothing is in here before a handler is loaded.
"""

from fastwsh.loading import handler_modules

# the folder of the handlers, if there is one
__path__ = []

handler_modules.enter_package()
