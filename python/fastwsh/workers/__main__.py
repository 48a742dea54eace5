"""`python -m fastwsh.workers`: a worker, which only its parent can start."""

import logging
import os
import sys
from contextlib import suppress

import fastwsh.pywebsocket
from fastwsh import cli
from fastwsh.config_error import ConfigError
from fastwsh.loading import handler_modules
from fastwsh.output import logs
from fastwsh.process import start_failures
from fastwsh.workers.channel import Channel

_ARGUMENTS = 2


def main() -> int:
    """Run a worker until its parent ends it or has ended; return the exit status."""
    # its number and how many there are, for people who look at processes, and the socket
    if len(sys.argv) != _ARGUMENTS + 1 or not sys.argv[-1].isdecimal():
        sys.stderr.write("fastwsh: workers are started by python -m fastwsh --workers N\n")
        return 2
    channel = Channel(int(sys.argv[-1]))
    try:
        message = channel.receive_start_message()
    except (EOFError, OSError):
        return 1
    options = message.options
    sys.path[:], sys.argv[:] = message.path, message.arguments
    try:
        channel.start(cli.stop_seconds(options), options.worker.private_folder)
        options.worker.take_over()
        os.chdir(message.folder)
        logs.configure(options)
        fastwsh.pywebsocket.install()
        with handler_modules.importable([os.path.realpath(options.websock_handlers)]):
            return cli.serve(options, channel, channel.announce)
    except (ConfigError, OSError, MemoryError, RuntimeError) as error:
        sentence = start_failures.shortage(error)
        if sentence is None and not isinstance(error, ConfigError | OSError):
            raise
        logging.getLogger("fastwsh.cli").debug("start-up failed", exc_info=True)
        channel.failed(sentence or str(error))
        return 1


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
