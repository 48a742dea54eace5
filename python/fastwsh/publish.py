"""`python -m fastwsh.publish`: publishes a message to a topic of running servers.

The servers have the same backplane. Other programs can do the same without this one: what is sent
is described in `fastwsh.backplane.envelope`.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Final

from fastwsh import _core
from fastwsh.backplane import engines, envelope
from fastwsh.config_error import ConfigError
from fastwsh.output.stdout import ProgramParser

__all__ = ["main", "publish"]

_ENVIRONMENT: Final = "FASTWSH_BACKPLANE"
_SECONDS: Final = 10.0


async def publish(url: str, topic: str, message: str | bytes) -> None:
    """Publish one message to the servers with this backplane.

    Args:
        url: The backplane, as for the option.
        topic: Any text, of 1 to 255 bytes in UTF-8.
        message: A str is sent as text, bytes as a binary message.

    Raises:
        ConfigError: The URL is none of a backplane, or its package is missing.
        OSError: The backplane does not answer. Packages have exceptions of their own as well.
    """
    _core.check_topic(topic)
    engine = engines.make(url, opens=False)
    is_text = isinstance(message, str)
    payload = message.encode() if isinstance(message, str) else message
    try:
        async with asyncio.timeout(_SECONDS):
            await engine.connect()
            await engine.publish([(topic, envelope.encode(payload, is_text=is_text))])
    finally:
        await engine.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = ProgramParser("fastwsh.publish", "Publish a message to a topic of running servers.")
    parser.add_argument(
        "--backplane",
        metavar="URL",
        default=os.environ.get(_ENVIRONMENT),
        help=f"that of the servers; by default {_ENVIRONMENT}, which other users cannot see",
    )
    parser.add_argument("--binary", action="store_true", help="send a binary message")
    parser.add_argument("topic")
    parser.add_argument("message", nargs="?", help="by default what is read from standard input")
    given = parser.parse_args(arguments)
    if not given.backplane:
        parser.error(f"give the servers' --backplane, or set {_ENVIRONMENT}")
    if given.message is not None:
        data = os.fsencode(given.message)
    elif sys.stdin is None:
        return _failed("standard input is closed: give the message as an argument", 2)
    else:
        data = sys.stdin.buffer.read()
    try:
        message = data if given.binary else data.decode()
        asyncio.run(publish(given.backplane, given.topic, message))
    except UnicodeDecodeError:
        return _failed("the message is not UTF-8: send it with --binary", 2)
    except UnicodeEncodeError:
        return _failed(f"the topic {given.topic!a} is not UTF-8", 2)
    except (ConfigError, ValueError) as error:
        return _failed(str(error), 2)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 (whatever a package raises)
        name = engines.without_password(given.backplane)
        return _failed(f"cannot publish by {name} ({str(error) or type(error).__name__})", 1)
    return 0


def _failed(sentence: str, status: int) -> int:
    sys.stderr.write(f"fastwsh.publish: {sentence}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
