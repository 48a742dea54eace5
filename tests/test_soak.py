"""A few seconds of what `soak.py` does for minutes."""

from pathlib import Path

from conftest import ALL_WAYS
from soak import SCENARIOS, fill, soak


@ALL_WAYS
def test_a_server_under_mixed_load_serves_everybody_and_ends_well(
    tmp_path: Path, concurrency: str
) -> None:
    fill(tmp_path, concurrency)
    report = soak(tmp_path, concurrency, 5)
    assert report.failures == []
    assert report.status == 0
    assert set(report.connections) == {scenario.__name__ for scenario in SCENARIOS}
