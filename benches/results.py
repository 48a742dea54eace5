"""The runs of a matrix: which of them count, and medians over them."""

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import machine
from measurement import Report
from peers import Peer
from scenarios import Figure, Scenario

# If fewer runs than this were undisturbed, the disturbed ones count as well.
_ENOUGH: Final = 2


@dataclass
class Results:
    """What was measured, and on what."""

    # Lines about the machine, the versions and the command.
    header: list[str]
    # What ratios are of: the names of these peers.
    subjects: list[str]
    runs: list[dict[str, Any]] = field(default_factory=list)

    def add(self, turn: int, scenario: Scenario, peer: Peer, report: Report) -> None:
        """Add a run of one round."""
        run = {"round": turn, "scenario": scenario.name, "peer": peer.name, "report": report}
        self.runs.append(run)

    def save(self, path: Path) -> None:
        """Write everything to a file."""
        content = {"header": self.header, "subjects": self.subjects, "runs": self.runs}
        path.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read what was saved.

        Raises:
            ValueError: There is no such file, or it is something else.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(content["header"], content["subjects"], content["runs"])
        except OSError as error:
            raise ValueError(
                f"{path} cannot be read ({error.strerror}): name a file that --json wrote"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} was not written by --json: name one that was") from error

    def peers(self, scenario: Scenario) -> list[str]:
        """Return the names of the peers that were measured in a scenario, in no order."""
        return list({run["peer"] for run in self.runs if run["scenario"] == scenario.name})

    def counting(self, scenario: Scenario, peer: str) -> dict[int, Report]:
        """Return the reports that count, by round: the undisturbed ones, if there are enough."""
        reports = {
            run["round"]: run["report"]
            for run in self.runs
            if (run["scenario"], run["peer"]) == (scenario.name, peer)
        }
        quiet = {
            turn: report
            for turn, report in reports.items()
            if "failed" not in report and not is_disturbed(report)
        }
        return quiet if len(quiet) >= _ENOUGH else reports


def is_disturbed(report: Report) -> bool:
    """Tell whether others were busy during a run; memory does not depend on that."""
    others: float = report.get("others_cores", 0.0)
    return report.get("mode") != "idle" and others > machine.QUIET_CORES


def is_client_bound(report: Report) -> bool:
    """Tell whether the load generator was the limit."""
    return bool((report.get("cpu") or {}).get("client_bound"))


def value(report: Report, figure: Figure) -> float | None:
    """Return a figure, unless the report has none or is of a run with errors."""
    if report.get("failed") or report.get("error_count"):
        return None
    found: Any = report
    for name in figure.place.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return None if found is None else float(found)


def median(reports: dict[int, Report], figure: Figure) -> float | None:
    """Return the median of a figure over rounds."""
    values = [found for report in reports.values() if (found := value(report, figure)) is not None]
    return statistics.median(values) if values else None
