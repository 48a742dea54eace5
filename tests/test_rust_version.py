"""Every crate that the two commands build can be built with the oldest Rust that is promised."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROMISED = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"][
    "rust-version"
]


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


@pytest.mark.parametrize("manifest", ["Cargo.toml", "benches/wsload/Cargo.toml"])
def test_no_locked_crate_wants_a_newer_rust(manifest: str):
    command = ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1"]
    done = subprocess.run(
        [*command, "--manifest-path", ROOT / manifest], check=True, capture_output=True, text=True
    )
    packages = json.loads(done.stdout)["packages"]
    assert len(packages) > 10
    newer = [
        f"{package['name']} {package['version']} wants Rust {package['rust_version']}"
        for package in packages
        if numbers(package["rust_version"] or "1.0") > numbers(PROMISED)
    ]
    assert newer == []
