#!/usr/bin/env python3
"""Set up this repository and run the server or every test of it, with one command each.

    python3 dev.py run [argument ...]    the server, by default with the examples on port 9998
    python3 dev.py test [argument ...]   every check that CI makes; arguments go to pytest

Needs Python 3.11 with pip, a Rust toolchain and a C compiler. Everything else comes into a virtual
environment in this folder. Both commands work from any folder; a second run reuses what the first
made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import dev_programs

MINIMUM_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parent
CI = os.environ.get("CI", "").lower() in {"1", "true"}

# Where cargo's subcommands come from, by rustup's name and by Debian's.
REMEDIES = {
    "fmt": "rustup component add rustfmt, or on Debian apt-get install rustfmt",
    "clippy": "rustup component add clippy, or on Debian apt-get install rust-clippy",
}

# The whole suite takes all cores; a file's tests stay together, as they share what is costly.
_IN_PARALLEL = ("-n", "auto", "--dist", "loadfile")

# A crate of its own, built beside the others.
_LOAD_GENERATOR = (
    *("--locked", "--manifest-path", "benches/wsload/Cargo.toml"),
    *("--target-dir", "target/wsload"),
)


# The tag tells interpreters apart that cannot share an environment: cpython-313, cpython-313t.
_FACTS = """
import json, platform, sys, sysconfig
threads = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print(json.dumps({
    "executable": sys.executable,
    "version": platform.python_version(),
    "tag": sys.implementation.cache_tag + threads,
}))
"""


class SetupError(Exception):
    """What is missing, and how to get it, in one sentence."""


# --- toolchains ----------------------------------------------------------------------------------


def check_toolchain() -> None:
    """Find cargo, a Rust that is new enough, and a linker."""
    import tomllib  # noqa: PLC0415 (absent from Pythons that main() refuses)

    for tool in ("cargo", "rustc"):
        if shutil.which(tool) is None:
            raise SetupError(
                f"{tool} is missing: install Rust from https://rustup.rs, "
                "or on Debian 13 apt-get install cargo"
            )
    if not any(map(shutil.which, ("cc", "gcc", "clang", "cl"))):
        raise SetupError("a C compiler (cc) is missing: on Debian, apt-get install gcc libc6-dev")
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    wanted = manifest["package"]["rust-version"]
    version = capture(["rustc", "--version"]).split()[1]
    if version_numbers(version) < version_numbers(wanted):
        raise SetupError(f"Rust {wanted} or newer is needed, this is {version}: run rustup update")


def version_numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: 1.85 of 1.85.0-nightly."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def has_component(name: str) -> bool:
    """Tell whether a cargo subcommand works; the files alone may be rustup's stand-ins."""
    command = ["cargo", name, "--version"]
    return subprocess.run(command, check=False, capture_output=True, cwd=ROOT).returncode == 0


def capture(command: list[str]) -> str:
    """Return what a command prints."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    except OSError as error:
        raise SetupError(f"cannot run {command[0]} ({error.strerror})") from error
    if done.returncode != 0:
        reason = " ".join((done.stderr or done.stdout).split())
        raise SetupError(f"{' '.join(command)} failed: {reason}")
    return done.stdout


# --- the virtual environment ---------------------------------------------------------------------


class Environment:
    """A virtual environment for one interpreter, with fastwsh built into it."""

    def __init__(self, interpreter: str) -> None:
        self.interpreter = interpreter
        facts = json.loads(capture([interpreter, "-c", _FACTS]))
        self.executable: str = facts["executable"]
        self.version: str = facts["version"]
        if version_numbers(self.version) < MINIMUM_PYTHON:
            raise SetupError(
                f"Python {dotted(MINIMUM_PYTHON)} or newer is needed, {interpreter} is "
                f"{self.version}: name another with --python"
            )
        self.folder = ROOT / ".venv" / facts["tag"]
        self.scripts = self.folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = str(self.scripts / "python")

    def environ(self) -> dict[str, str]:
        """Return the variables that make cargo and maturin use this environment."""
        inherited = {k: v for k, v in os.environ.items() if k not in {"PYTHONHOME", "CONDA_PREFIX"}}
        return {
            **inherited,
            "VIRTUAL_ENV": str(self.folder),
            "PATH": f"{self.scripts}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYO3_PYTHON": self.python,
        }

    def install(self, *groups: str) -> None:
        """Create the environment and install dependency groups, unless that was done before."""
        stamp = self.folder / f"{'-'.join(groups)}.stamp"
        project = (ROOT / "pyproject.toml").read_bytes()
        facts = f"{self.executable}\n{self.version}\n".encode()
        wanted = hashlib.sha256(facts + project).hexdigest()
        if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
            return
        if not self._is_for(self.executable):
            self._create()
        note(f"installing what is needed to {' and '.join(groups)}")
        command = [self.python, "-m", "pip", "install", "--quiet"]
        command += [option for group in groups for option in ("--group", group)]
        self._call(command)
        stamp.write_text(wanted, encoding="ascii")

    def _is_for(self, executable: str) -> bool:
        """Tell whether the environment exists and was made from this very interpreter."""
        try:
            config = (self.folder / "pyvenv.cfg").read_text(encoding="utf-8")
        except OSError:
            return False
        base = re.search(r"^executable = (.*)$", config, re.MULTILINE)
        version = re.search(r"^version = (.*)$", config, re.MULTILINE)
        if base is None or version is None or version[1] != self.version:
            return False
        return os.path.realpath(executable) == os.path.realpath(base[1])

    def _create(self) -> None:
        """Create the environment with a current pip, which the interpreter's own pip installs.

        Debian's Python can create environments but not put pip into them.
        """
        note(f"creating {self.folder.relative_to(ROOT)} for Python {self.version}")
        shutil.rmtree(self.folder, ignore_errors=True)
        capture([self.interpreter, "-m", "venv", "--without-pip", str(self.folder)])
        command = [self.interpreter, "-m", "pip", "--python", self.python]
        try:
            # Dependency groups need 25.1.
            capture([*command, "install", "--quiet", "pip>=25.1"])
        except SetupError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            if "No module named pip" in str(error):
                raise SetupError(
                    "pip is missing: on Debian, apt-get install python3-pip"
                ) from error
            raise

    def build(self) -> None:
        """Build fastwsh in release mode and install it for editing."""
        note("building fastwsh (a first build takes minutes)")
        command = [str(self.scripts / "maturin"), "develop", "--release"]
        printed: list[str] = []
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env={**self.environ(), "PIP_QUIET": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            for line in process.stdout or ():
                printed.append(line)
                show_progress(printed)
        if sys.stdout.isatty():
            print("\r\033[K", end="", flush=True)
        if process.returncode != 0:
            print("".join(printed), end="", file=sys.stderr)
            raise SetupError("maturin develop --release failed: see its messages above")

    def _call(self, command: list[str]) -> None:
        environ = {**self.environ(), "PIP_QUIET": "1"}
        if subprocess.run(command, check=False, cwd=ROOT, env=environ).returncode != 0:
            call = " ".join([Path(command[0]).name, *command[1:]])
            raise SetupError(f"{call} failed: see its message above")


# --- commands ------------------------------------------------------------------------------------


def run_server(environment: Environment, arguments: list[str]) -> int:
    """Start the server in place of this process; by default with the examples."""
    environment.install("build")
    environment.build()
    arguments = arguments or ["-p", "9998", "-d", str(ROOT / "examples")]
    command = [environment.python, "-m", "fastwsh", *arguments]
    note(" ".join(["python", *command[1:]]))
    sys.stdout.flush()
    if os.name == "posix":
        # The same process, so that signals and the exit status are the server's own.
        os.execve(command[0], command, environment.environ())
    return subprocess.run(command, check=False, env=environment.environ()).returncode


def run_tests(environment: Environment, arguments: list[str]) -> int:
    """Run every check; a failed one does not hide the results of the others."""
    ensure_programs()
    environment.install("build", "docs", "lint", "test")
    environment.build()
    python = environment.python
    checks: list[tuple[str, list[str]]] = []
    for component, commands in {
        "fmt": [["cargo", "fmt", "--check"]],
        "clippy": [
            ["cargo", "clippy", "--all-targets", features, "--locked", "--", "-D", "warnings"]
            for features in ("--all-features", "--no-default-features")
        ],
    }.items():
        if CI or has_component(component):
            checks += [(" ".join(command[:4]), command) for command in commands]
        else:
            note(f"cargo {component} is missing and left out: {REMEDIES[component]}")
    checks += [
        ("cargo check", ["cargo", "check", "--locked", "--no-default-features"]),
        ("cargo test", ["cargo", "test", "--quiet", "--locked", "--features", "server,fuzzing"]),
        ("other systems", [python, "release/check_systems.py"]),
        ("cargo test (load generator)", ["cargo", "test", "--quiet", *_LOAD_GENERATOR]),
        ("ruff check", [python, "-m", "ruff", "check", "--output-format", "concise"]),
        ("ruff format", [python, "-m", "ruff", "format", "--check"]),
        ("mypy", [python, "-m", "mypy"]),
        ("stubtest", [python, "-m", "mypy.stubtest", "fastwsh._core"]),
        ("mkdocs build", [python, "-m", "mkdocs", "build", "--quiet", "--strict"]),
        ("instructions per message", [python, "benches/instructions.py"]),
        ("pytest", [python, "-m", "pytest", *(arguments or _IN_PARALLEL)]),
    ]
    # The theme's word about the future of mkdocs is not for each run.
    environ = {**environment.environ(), "NO_MKDOCS_2_WARNING": "1"}
    results = []
    for name, command in checks:
        note(name)
        started = time.monotonic()
        status = subprocess.run(command, check=False, cwd=ROOT, env=environ).returncode
        results.append((name, status, time.monotonic() - started))
    print()
    for name, status, seconds in results:
        print(f"{'failed' if status else 'passed'}  {seconds:6.1f} s  {name}")
    return 1 if any(status for _, status, _ in results) else 0


def ensure_programs() -> None:
    """Install Chromium and servers if that is possible; some tests need them."""
    missing = dev_programs.missing_packages()
    apt = shutil.which("apt-get")
    if missing and apt is not None and os.geteuid() == 0:
        wanted = missing
        if not CI and Path("/run/systemd/system").exists():
            # A machine that boots would start them from then on.
            wanted = [package for package in missing if package not in dev_programs.SERVERS]
        if wanted:
            note(f"installing {' '.join(wanted)}")
            dev_programs.install_packages(apt, wanted)
        missing = dev_programs.missing_packages()
    if missing:
        remedy = f"on Debian, apt-get install {' '.join(missing)}"
        if CI:
            raise SetupError(f"programs that the tests need are missing: {remedy}")
        note(f"programs are missing, the tests that need them are skipped: {remedy}")


def note(text: str) -> None:
    """Say what comes next."""
    print(f"dev.py: {text}", flush=True)


def show_progress(printed: list[str]) -> None:
    """Show in one line of a terminal how many crates cargo has built."""
    if not sys.stdout.isatty():
        return
    compiled = sum(line.lstrip().startswith("Compiling") for line in printed)
    print(f"\r\033[Kdev.py: {compiled} crates so far", end="", flush=True)


def dotted(version: tuple[int, ...]) -> str:
    """Write a version."""
    return ".".join(map(str, version))


def main() -> int:
    """Run the command that was asked for."""
    if sys.version_info < MINIMUM_PYTHON:
        sys.exit(
            f"dev.py: Python {dotted(MINIMUM_PYTHON)} or newer is needed, this is "
            f"{platform.python_version()}: start dev.py with a newer one"
        )
    parser = argparse.ArgumentParser(
        prog="dev.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="PATH",
        help="interpreter to build for and test with (default: the one that runs dev.py)",
    )
    parser.add_argument("command", choices=("run", "test"))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="for the server or for pytest")
    options = parser.parse_args()
    try:
        check_toolchain()
        environment = Environment(options.python)
        command = run_server if options.command == "run" else run_tests
        return command(environment, options.arguments)
    except SetupError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
