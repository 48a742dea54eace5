"""The licences of the crates that a wheel contains."""

from pathlib import Path

import pytest

from release_support import scripts

__all__ = ["scripts"]


def crate(folder: Path, name: str, license_: str | None, text: str) -> dict[str, object]:
    (folder / name).mkdir()
    (folder / name / "LICENSE-MIT").write_text(text, "utf-8")
    (folder / name / "license.rs").write_text("no licence", "utf-8")
    return {
        "name": name,
        "version": "1.0",
        "license": license_,
        "license_file": None,
        "manifest_path": str(folder / name / "Cargo.toml"),
    }


def test_each_text_of_a_licence_is_there_once(tmp_path):
    import crate_licenses

    crates = [crate(tmp_path, "a", "MIT", "text"), crate(tmp_path, "b", "MIT", "text\n")]
    text = crate_licenses.collect([*crates, crate(tmp_path, "c", "ISC", "other")])
    assert "- a 1.0: MIT\n- b 1.0: MIT\n- c 1.0: ISC\n" in text
    assert "Of a 1.0, b 1.0:\n\ntext\n" in text
    assert text.count("\ntext\n") == text.count("\nother\n") == 1
    assert "no licence" not in text


def test_a_crate_without_a_licence_is_not_shipped(tmp_path):
    import crate_licenses

    with pytest.raises(SystemExit, match=r"a 1\.0 states no licence"):
        crate_licenses.collect([crate(tmp_path, "a", None, "text")])


def test_what_is_compiled_in_is_listed_and_tools_are_not():
    import crate_licenses

    names = {crate["name"] for crate in crate_licenses.shipped_crates()}
    assert {"tokio", "rustls", "pyo3", "ring"} <= names
    assert not {"fastwsh", "criterion", "proptest"} & names
