"""What the documentation shows works; the pages that need a browser are in `browser`."""

import json
import re
import runpy
import signal
from pathlib import Path

import pytest
import yaml

import docs_markdown as markdown
import metrics_support
from conftest import ROOT, StartServer
from docs_support import Story
from fastwsh.options import build_parser

_README = (ROOT / "README.md").read_text(encoding="utf-8")
_CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

# By the heading above them.
_README_BLOCKS = {"A handler": ["python"]}  # test_cli_readme
_README_COMMANDS = {
    "python3 dev.py run",  # docs_markdown.NOT_RUN says why not
    "python3 dev.py test",
}


@pytest.mark.parametrize("page", [p for p in markdown.PAGES if not markdown.needs_browser(p)])
def test_page_does_what_it_says(page: str, tmp_path: Path, start_server: StartServer):
    story = Story(tmp_path, start_server, lambda: pytest.fail("no step of it needs a browser"))
    try:
        story.play(page)
    finally:
        story.close()


@pytest.mark.parametrize("page", markdown.PAGES)
def test_every_block_is_known(page: str):
    text = markdown.read(page)
    problems = [f"line {s.line}: {markdown.why_unknown(s)}" for s in markdown.steps_of(text)]
    assert [problem for problem in problems if not problem.endswith("None")] == []
    assert markdown.stray_code(text) == []


@pytest.mark.parametrize("page", markdown.TRANSLATED)
def test_the_chinese_page_has_the_steps_of_the_english_one(page: str):
    ours, theirs = (
        [
            (step.language, step.title, step.code.count("\n"))
            for step in markdown.steps_of(markdown.read(path))
        ]
        for path in (page, f"zh/{page}")
    )
    assert ours == theirs


@pytest.mark.parametrize(
    "block",
    [
        '```python title="what it may be"\n1\n```\n',
        '```js title="It prints"\n1\n```\n',
        "```js\n1\n```\n",
        "```\n1\n```\n",
        "```console\nls\n```\n",
        "```python linenums\n1\n```\n",
        "\n    indented\n",
    ],
)
def test_a_block_that_no_rule_knows_is_found(block: str):
    steps = markdown.steps_of(block)
    assert any(map(markdown.why_unknown, steps)) or markdown.stray_code(block)


def test_every_page_is_in_the_navigation():
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = re.findall(r"^ +- .*: (\S+\.md)$", config, re.MULTILINE)
    assert sorted(pages) == markdown.PAGES


def test_commands_that_are_not_run_exist():
    known = {command for page in markdown.PAGES for command in _commands(markdown.read(page))}
    assert set(markdown.NOT_RUN) <= known | set(_indented(_README))


def _commands(text: str) -> list[str]:
    return re.findall(r"^\$ (.*)$", text, re.MULTILINE)


def _indented(text: str) -> list[str]:
    return re.findall(
        r"^    (\S.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE
    )


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", _README)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_options_are_those_of_the_parser():
    generator = runpy.run_path(str(markdown.DOCS / "generate_options.py"))
    message = "run: python docs/generate_options.py"
    assert markdown.read("options.md") == generator["render"](), message


def test_options_that_the_page_about_running_names_exist():
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]+)", markdown.read("running.md")))
    clients = {"--send", "--expect"}
    assert clients < named
    assert sorted(named - clients - set(build_parser()._option_string_actions)) == []


def test_every_block_of_the_readme_has_a_test():
    sections = re.split(r"^#+ ", _README, flags=re.MULTILINE)[1:]
    languages = {
        section.partition("\n")[0]: re.findall(
            r"^```(\w+).*?^```$", section, re.DOTALL | re.MULTILINE
        )
        for section in sections
    }
    assert {title: found for title, found in languages.items() if found} == _README_BLOCKS
    assert set(_indented(_README)) == _README_COMMANDS


def test_prometheus_is_told_to_ask_the_port_of_the_page():
    (config,) = [s for s in markdown.steps_of(markdown.read("metrics.md")) if s.language == "yaml"]
    (job,) = yaml.safe_load(config.code)["scrape_configs"]
    assert set(job) == {"job_name", "static_configs"}
    (target,) = job["static_configs"][0]["targets"]
    assert f"--metrics-port {target.partition(':')[2]}\n" in markdown.read("metrics.md")


def test_metrics_are_those_of_the_page(start_server: StartServer, tmp_path: Path):
    server = start_server("--metrics-port", "0", "--backplane", f"unix:{tmp_path}/bus")
    _, text = metrics_support.ask(metrics_support.metrics_port(server), "/metrics")
    page = markdown.read("metrics.md")
    real = {
        name: set(
            re.findall(r'(\w+)="', "".join(re.findall(rf"^{name}{{(.*)}}", text, re.MULTILINE)))
        )
        for name in re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)
    }
    rows = re.findall(r"^\| `(fastwsh_\w+)` \| (.*?) \|", page, re.MULTILINE)
    ours = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert set(ours) == {name for name in real if name.startswith("fastwsh_")}
    # one without a sample shows no label
    assert {name: labels for name, labels in ours.items() if real[name]} == {
        name: labels for name, labels in real.items() if labels and name in ours
    }
    assert all(f"`{name}`" in page for name in real)


def test_fields_of_the_access_log_are_those_of_the_page(
    start_server: StartServer, handler_root: Path, tmp_path: Path
) -> None:
    server = start_server("-w", "handlers", "--access-log=access.log", "--log-format=json")
    with server.connect() as client:
        client.send_request("/none")
        assert client.read_response().status == 404
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    entry = json.loads((tmp_path / "access.log").read_text(encoding="utf-8"))
    table = markdown.read("metrics.md").partition("| field |")[2].partition("\n\n")[0]
    names = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(names)) == list(entry)


def test_functions_of_the_journeys_and_questions_are_where_the_map_says():
    journeys = _CONTRIBUTING.partition("\n## Four journeys\n")[2].partition("\n## Style\n")[0]
    steps = re.findall(r"^\d+\. (.*?)(?=^\d+\. |^$)", journeys, re.DOTALL | re.MULTILINE)
    assert len(steps) >= 4 * 7 + 10
    missing = []
    for step in steps:
        # a name is in one of the files in the next parentheses
        for sentence in re.findall(r"[^(]*\([^)]*\)", step):
            names, _, places = sentence.partition("(")
            files = re.findall(r"`([\w/]+\.(?:rs|py))`", places)
            text = "".join((ROOT / name).read_text(encoding="utf-8") for name in files)
            missing += [
                (name, files)
                for name in re.findall(r"`(\w+)`", names)
                if not re.search(rf"\b(?:fn|struct|enum|trait|def|class) {name}\b", text)
            ]
    assert missing == [], "mend the map in CONTRIBUTING.md"
