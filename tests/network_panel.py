"""The network panel of the developer tools: "Save all as HAR", for a browser without a window.

The export itself cannot be driven without one. What it writes is made of the events of the DevTools
protocol by simple rules, which are repeated here (models/har/Log.ts and core/sdk/NetworkManager.ts
of the developer tools): the events are those of the real browser.
"""

import json
import threading
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome

import fastwsh
from fastwsh.client import connect_sync
from wire import DEADLINE_SECONDS

__all__ = ["NetworkPanel"]


class NetworkPanel:
    """Watches a browser's page from now on."""

    def __init__(self, browser: Chrome) -> None:
        address = browser.capabilities["goog:chromeOptions"]["debuggerAddress"]
        with urllib.request.urlopen(f"http://{address}/json/list", timeout=20) as answer:
            targets = json.load(answer)
        (page,) = (one for one in targets if one["id"] == browser.current_window_handle)
        self._connection = connect_sync(
            page["webSocketDebuggerUrl"], proxy=None, max_message_bytes=None
        )
        self._connection.send(json.dumps({"id": 1, "method": "Network.enable"}))
        self._entries: dict[str, dict[str, Any]] = {}
        self._clocks: dict[str, float] = {}
        self._changed = threading.Condition()
        self._is_enabled = False
        threading.Thread(target=self._collect, daemon=True).start()
        with self._changed:
            assert self._changed.wait_for(lambda: self._is_enabled, DEADLINE_SECONDS)

    def save(self, path: Path) -> None:
        """Write the file: every connection that the page has closed or spoken on."""
        # the protocol tells of things in their order, so that what came before this has been seen
        with self._changed:
            self._is_enabled = False
        self._connection.send(json.dumps({"id": 2, "method": "Network.enable"}))
        with self._changed:
            assert self._changed.wait_for(lambda: self._is_enabled, DEADLINE_SECONDS)
            creator = {"name": "WebInspector", "version": "537.36"}
            entries = list(self._entries.values())
            log = {"version": "1.2", "creator": creator, "pages": [], "entries": entries}
            path.write_text(json.dumps({"log": log}, indent=2), encoding="utf-8")

    def close(self) -> None:
        self._connection.disconnect()

    def _collect(self) -> None:
        try:
            while True:
                event = json.loads(self._connection.recv())
                with self._changed:
                    if "id" in event:
                        self._is_enabled = True
                    elif event["method"].startswith("Network.webSocket"):
                        self._note(event["method"].removeprefix("Network."), event["params"])
                    self._changed.notify_all()
        except fastwsh.FastwshError:
            # the end
            pass

    def _note(self, event: str, params: dict[str, Any]) -> None:
        identity = params["requestId"]
        if event == "webSocketCreated":
            self._entries[identity] = _entry(identity, params["url"])
            return
        entry = self._entries[identity]
        if event == "webSocketWillSendHandshakeRequest":
            self._clocks[identity] = params["wallTime"] - params["timestamp"]
            moment = datetime.fromtimestamp(params["wallTime"], UTC)
            entry["startedDateTime"] = moment.isoformat(timespec="milliseconds")
            entry["request"]["headers"] = _headers(params["request"]["headers"])
        elif event == "webSocketHandshakeResponseReceived":
            response = params["response"]
            entry["response"]["status"] = response["status"]
            entry["response"]["statusText"] = response["statusText"]
            entry["response"]["headers"] = _headers(response["headers"])
        elif event in {"webSocketFrameSent", "webSocketFrameReceived"}:
            frame = params["response"]
            entry["_webSocketMessages"].append(
                {
                    "type": "send" if event.endswith("Sent") else "receive",
                    "time": params["timestamp"] + self._clocks[identity],
                    "opcode": frame["opcode"],
                    "data": frame["payloadData"],
                }
            )


def _entry(identity: str, url: str) -> dict[str, Any]:
    request = {"method": "GET", "url": url, "httpVersion": "HTTP/1.1", "headers": []}
    response = {"status": 0, "statusText": "", "httpVersion": "HTTP/1.1", "headers": []}
    return {
        "_connectionId": identity,
        "_resourceType": "websocket",
        "_webSocketMessages": [],
        "cache": {},
        "request": {**request, "queryString": [], "cookies": [], "headersSize": -1, "bodySize": 0},
        "response": {**response, "cookies": [], "content": {"size": 0, "mimeType": "x-unknown"}},
        "startedDateTime": "",
        "time": 0,
        "timings": {},
    }


def _headers(headers: dict[str, str]) -> list[dict[str, str]]:
    # several lines of one header are one value with line ends
    return [
        {"name": name, "value": line}
        for name, value in headers.items()
        for line in value.split("\n")
    ]
