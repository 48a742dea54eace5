"""What a page of the documentation asks its reader to do, in order: the blocks and the links.

Owns the reading of Markdown and the rules by which a block is known; `docs_support` plays them.
"""

import re
from dataclasses import dataclass

from conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))

BROWSER_CONSOLE = "In the browser's console"
PAGE_SHOWS = "The page shows"
PRINTS = "It prints"
CLIENT_SENDS = "The client sends"
SERVER_ANSWERS = "The server answers"
FRAMES = "Frames"
SAVE_HAR = "Save all as HAR"
_TITLES = {
    BROWSER_CONSOLE: "js",
    PAGE_SHOWS: "text",
    PRINTS: "text",
    CLIENT_SENDS: "http",
    SERVER_ANSWERS: "http",
    FRAMES: "text",
    SAVE_HAR: "text",
}

_IN_CHINESE = {
    "在浏览器控制台中": BROWSER_CONSOLE,
    "页面显示": PAGE_SHOWS,
    "输出": PRINTS,
    "客户端发送": CLIENT_SENDS,
    "服务器应答": SERVER_ANSWERS,
    "帧": FRAMES,
}

TRANSLATED = sorted(path.name for path in (DOCS / "zh").iterdir())
"""Pages that exist in Chinese as well, by the same name in `zh`."""

CONTINUES = {"tutorial-2.md": "tutorial.md", "zh/tutorial-2.md": "zh/tutorial.md"}
"""Pages that go on with the files of another one."""

NOT_RUN = {
    "pip install .": "the tests run in an environment where it is installed",
    "pip install fissix": "the same",
    "pip install 'fastwsh[http3]'": "the same",
    "sh chromium.sh": "browser/test_http3 does the same without a window",
    "python3 -m venv .venv": "the same",
    ". .venv/bin/activate": "the same",
    "mkcert -install": "it changes what this machine trusts",
    "mkcert localhost 127.0.0.1 ::1": "it needs the line before",
    "python3 dev.py run": "the tests are started by dev.py themselves",
    "python3 dev.py test": "the same",
    "python3 benches/run.py": "it takes nearly an hour",
    **{
        f"python -m fastwsh {place} -d www -w ../handlers {trusted} --ping-interval 30": (
            "test_deployment starts it, behind the servers that it is for"
        )
        for place, trusted in (
            ("-H 127.0.0.1 -p 9998", "--trusted-proxies 127.0.0.1"),
            ("-H 127.0.0.1 -p 9998", "--trusted-proxies 127.0.0.1 --proxy-protocol"),
            ("--uds /run/fastwsh/fastwsh.sock", "--trusted-proxies unix"),
        )
    },
    "python -m fastwsh -p 443 -d www -w ../handlers -t "
    "-k ../keys/privkey.pem -c ../keys/fullchain.pem": (
        "test_deployment parses it, test_tls does the same on a free port"
    ),
    "docker build -f deploy/docker/Dockerfile -t fastwsh .": "it needs a daemon; see test_deploy",
    'docker run -p 127.0.0.1:9998:9998 -v "$PWD/handlers:/srv/handlers:ro"'
    " -e FASTWSH_TRUSTED_PROXIES=172.17.0.1 -e FASTWSH_PING_INTERVAL=30 fastwsh": "the same",
}
"""Commands that no test runs, and why."""


@dataclass(frozen=True)
class Step:
    """A block, or (with the language "link") an address that the reader is to open."""

    line: int
    language: str
    title: str
    code: str

    @property
    def is_file(self) -> bool:
        """Whether the title is the name of the file that the block is."""
        return re.fullmatch(r"[\w./-]+[./]\w+", self.title) is not None

    @property
    def needs_browser(self) -> bool:
        return self.language == "link" or self.title in (BROWSER_CONSOLE, PAGE_SHOWS, SAVE_HAR)


_STEP = re.compile(
    r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"\n]*)\")?\n(?P<code>.*?)^```$"
    r"|<(?P<link>https?://localhost[^>\s]*)>",
    re.DOTALL | re.MULTILINE,
)


def steps_of(text: str) -> list[Step]:
    """Return the steps of a page, in order."""
    return [
        Step(
            line=text.count("\n", 0, match.start()) + 1,
            language="link" if match["link"] else match["language"],
            title=_IN_CHINESE.get(match["title"], match["title"] or ""),
            code=match["link"] or _with_included_files(match["code"]),
        )
        for match in _STEP.finditer(text)
    ]


def _with_included_files(code: str) -> str:
    """Put files of the repository in where pymdownx.snippets does."""
    return re.sub(
        r'^--8<-- "([^":]+)"\n',
        lambda match: (ROOT / match[1]).read_text(encoding="utf-8"),
        code,
        flags=re.MULTILINE,
    )


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def needs_browser(page: str) -> bool:
    return any(step.needs_browser for step in steps_of(read(page)))


def why_unknown(step: Step) -> str | None:
    """Return what is wrong with a block that no rule knows, None if there is one."""
    if step.is_file or step.language == "link":
        return None
    if step.title:
        wanted = _TITLES.get(step.title)
        if wanted is None:
            return f"the title {step.title!r} is neither a file name nor one of {list(_TITLES)}"
        return None if step.language == wanted else f"{step.title!r} is for {wanted} blocks"
    if step.language == "console":
        return None if step.code.startswith("$ ") else "a console block begins with a command"
    return None if step.language == "python" else "only python and console blocks have no title"


def stray_code(text: str) -> list[str]:
    """Return the lines of code that stand in no block `steps_of` knows."""
    rest = _STEP.sub("", text)
    return [
        line
        for before, line in zip(rest.splitlines(), rest.splitlines()[1:], strict=False)
        if "```" in line or (line.startswith("    ") and not before.strip())
    ]


def commands_of(code: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with what it is said to print."""
    joined = code.replace("\\\n", "")
    parts = re.split(r"^\$ ", joined, flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]
