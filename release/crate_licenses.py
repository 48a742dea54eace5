#!/usr/bin/env python3
"""Collect the licences of all crates inside a wheel into python/fastwsh/LICENSES-OF-CRATES.txt.

maturin takes the file into each wheel. To be run before it.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "python/fastwsh/LICENSES-OF-CRATES.txt"

# By what crates call the files.
_LICENSE = re.compile(r"(licen[sc]e|copying|notice|unlicense|copyright)", re.IGNORECASE)


def main() -> None:
    """Write the file."""
    TARGET.write_text(collect(shipped_crates()), encoding="utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size // 1024} KiB")


def shipped_crates() -> list[dict[str, Any]]:
    """Return cargo's description of each crate that is compiled into the extension module."""
    command = ["cargo", "metadata", "--locked", "--features", "python", "--format-version", "1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    metadata = json.loads(done.stdout)
    dependencies = {node["id"]: node["deps"] for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    wanted, todo = set(), [root]
    while todo:
        crate = todo.pop()
        if crate in wanted:
            continue
        wanted.add(crate)
        todo += [
            dependency["pkg"]
            for dependency in dependencies[crate]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        ]
    crates = [crate for crate in metadata["packages"] if crate["id"] in wanted - {root}]
    return sorted(crates, key=lambda crate: (crate["name"], crate["version"]))


def collect(crates: list[dict[str, Any]]) -> str:
    """Return a list of the crates, and then each text of a licence once.

    Raises:
        SystemExit: A crate states no licence.
    """
    lines = ["fastwsh contains these crates, under these licences:", ""]
    holders = defaultdict(list)
    for crate in crates:
        name = f"{crate['name']} {crate['version']}"
        if not (crate["license"] or crate["license_file"]):
            raise SystemExit(f"{name} states no licence")
        lines.append(f"- {name}: {crate['license'] or crate['license_file']}")
        folder = Path(crate["manifest_path"]).parent
        for path in sorted(folder.iterdir()):
            if path.is_file() and _LICENSE.match(path.name) and path.suffix not in {".rs", ".html"}:
                holders[path.read_text(encoding="utf-8", errors="replace").strip()].append(name)
    for text, names in holders.items():
        lines += ["", "=" * 80, f"Of {', '.join(dict.fromkeys(names))}:", "", text]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
