"""Gives each page the language that it is written in, and a link to the other one.

mkdocs calls these functions, see `hooks` in mkdocs.yml.
"""

from __future__ import annotations

from typing import Any

_CHINESE = "zh/"


def on_page_context(context: dict[str, Any], *, page: Any, config: Any, nav: Any) -> dict[str, Any]:
    """Choose the theme's words, and where its language switch leads.

    A page without a translation leads to the first page of the other language.
    """
    pages = {other.file.src_uri: other.url or "./" for other in nav.pages}
    path = page.file.src_uri
    is_chinese = path.startswith(_CHINESE)
    english = path.removeprefix(_CHINESE)
    config.theme["language"] = "zh" if is_chinese else "en"
    config.extra["alternate"] = [
        {"name": "English", "lang": "en", "link": pages.get(english, "./")},
        {"name": "中文", "lang": "zh", "link": pages.get(_CHINESE + english, _CHINESE)},
    ]
    return context
