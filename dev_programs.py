"""The programs that the tests drive, and the packages of Debian that have them; for dev.py."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# What the tests drive, by the package of Debian that has it.
BROWSERS = {
    "chromium": "chromium",
    "chromium-driver": "chromedriver",
    "firefox-esr": "firefox-esr",
}
TOOLS = {"curl": "curl", "nodejs": "node", "npm": "npm", "valgrind": "valgrind"}
WEB_SERVERS = {name: name for name in ("apache2", "caddy", "haproxy", "nginx")}
MESSAGE_SERVERS = {name: name for name in ("nats-server", "redis-server")}

SERVERS = {**WEB_SERVERS, **MESSAGE_SERVERS}

# Debian's packages ask it whether they may start what they install: 101 is no.
_SERVICE_POLICY = Path("/usr/sbin/policy-rc.d")


def missing_packages() -> list[str]:
    """Return the packages of Debian whose programs cannot be found."""
    # Servers are where the path of an ordinary user does not lead.
    path = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"
    programs = {**BROWSERS, **TOOLS, **SERVERS}
    return [name for name, program in programs.items() if not shutil.which(program, path=path)]


def install_packages(apt: str, packages: list[str]) -> None:
    """Install packages of Debian, and start none of their services."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with services_stay_off():
        for command in (
            [apt, "update"],
            [apt, "install", "-y", "--no-install-recommends", *packages],
        ):
            subprocess.run(
                command, check=False, env=quiet, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
            )


@contextmanager
def services_stay_off() -> Iterator[None]:
    """Let no package start a service; a policy that the machine has stays as it is."""
    try:
        with _SERVICE_POLICY.open("x", encoding="ascii") as policy:
            policy.write("#!/bin/sh\nexit 101\n")
    except OSError:
        yield
        return
    try:
        _SERVICE_POLICY.chmod(0o755)
        yield
    finally:
        _SERVICE_POLICY.unlink()
