"""Drive one tab of headless Chromium over its DevTools protocol."""

import json
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect
from websockets.sync.connection import Connection

_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
]

_WHEN = """new Promise((resolve, reject) => {
    const watch = new MutationObserver(() => check());
    const late = setTimeout(() => { watch.disconnect(); reject(new Error("never came true")); }, %d);
    const check = () => {
        if (!(%s)) return;
        watch.disconnect(); clearTimeout(late); resolve();
    };
    watch.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
    check();
})"""


class Tab:
    """One page. ``complaints`` holds what the browser objected to: errors, refused resources, broken policies."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._calls = 0
        self._chooser: int | None = None
        self._downloads: dict[str, str] = {}
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._calls += 1
        self._connection.send(json.dumps({"id": self._calls, "method": method, "params": params}))
        while (message := self._next()).get("id") != self._calls:
            pass
        assert "error" not in message, f"{method}: {message['error']}"
        result: dict[str, Any] = message["result"]
        return result

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv(timeout=30))
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(message["params"]["exceptionDetails"]))
        if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.complaints.append(message["params"]["entry"]["text"])
        if message.get("method") == "Page.fileChooserOpened":
            self._chooser = message["params"]["backendNodeId"]
        if message.get("method") == "Browser.downloadProgress":
            self._downloads[message["params"]["guid"]] = message["params"]["state"]
        return message

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self._until_loaded()

    def reload(self) -> None:
        self.call("Page.reload")
        self._until_loaded()

    def _until_loaded(self) -> None:
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}\n{self.text()}"
        return answer["result"].get("value")

    def wait(self, claim: str, milliseconds: int = 10_000) -> None:
        """Return once a claim about the document is true."""
        answer = self.call("Runtime.evaluate", expression=_WHEN % (milliseconds, claim), awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{claim} never came true on this page:\n{self.text()}"

    def text(self) -> str:
        shown: str = self.call("Runtime.evaluate", expression="document.body.innerText")["result"]["value"]
        return shown

    def click(self, selector: str) -> None:
        """Click in the middle of what a person would see there."""
        found = json.dumps(selector)
        self.wait(f"document.querySelector({found})?.checkVisibility()")
        middle = self.evaluate(
            f"(() => {{ const seen = document.querySelector({found}); seen.scrollIntoView({{block: 'center'}});"
            " const box = seen.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=middle[0], y=middle[1], button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int) -> None:
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def choose(self, open_dialog: Callable[[], None], *files: Path) -> None:
        """Do what opens the browser's own dialog, and choose files in it."""
        self._chooser = None
        self.call("Page.setInterceptFileChooserDialog", enabled=True)
        open_dialog()
        while self._chooser is None:
            self._next()
        self.call("DOM.setFileInputFiles", files=[str(file) for file in files], backendNodeId=self._chooser)

    def download(self, selector: str, folder: Path) -> Path:
        """Click on what downloads a file, and return it once it is there."""
        self._downloads.clear()
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder), eventsEnabled=True)
        self.click(selector)
        while "completed" not in self._downloads.values():
            assert "canceled" not in self._downloads.values()
            self._next()
        (file,) = folder.iterdir()
        return file

    def slow_down(self, bytes_per_second: int) -> None:
        """Let bytes go up slowly, or, with -1, as fast as they can."""
        speed = {"downloadThroughput": -1, "uploadThroughput": bytes_per_second}
        self.call("Network.emulateNetworkConditions", offline=False, latency=0, **speed)

    def look(self, width: int, height: int, scheme: str) -> None:
        """Change the size of the window and the person's preference for light or dark; nothing moves by itself."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call(
            "Emulation.setEmulatedMedia",
            features=[
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ],
        )

    def picture(self) -> bytes:
        return b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@contextmanager
def chromium(folder: Path) -> Iterator[Tab]:
    """Start Chromium with a profile of its own and yield its tab; skip where it is not installed."""
    found = [place for name in ("chromium", "chromium-browser", "google-chrome") if (place := shutil.which(name))]
    if not found:
        pytest.skip("Chromium is not installed")
    command = [found[0], *_FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            with connect(_tab_address(process), max_size=None, ping_interval=None) as connection:
                yield Tab(connection)
        finally:
            process.terminate()


def _tab_address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("DevTools listening on ws://"):
            host = line.split("/")[2]
            tabs = httpx.get(f"http://{host}/json/list", trust_env=False).json()
            return next(str(tab["webSocketDebuggerUrl"]) for tab in tabs if tab["type"] == "page")
    raise AssertionError("Chromium did not start")
