"""A real browser without a window, told what to do by the DevTools protocol: Chromium as installed, or Qt's.

`SIAMESE_BROWSER` names the program; without it the usual names are looked for, then the package PySide6-WebEngine (of
the `dev` extra) or PyQt6-WebEngine, which bring Chromium's engine along; the first that starts is taken. Only the
standard library is needed to speak to any of them.
"""

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

PROGRAMS = (
    *("chromium-headless-shell", "chromium", "chromium-browser", "chrome-headless-shell"),
    *("google-chrome", "google-chrome-stable", "chrome", "microsoft-edge"),
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
)
WAIT = 60.0
QT = """
import sys
from {package}.QtCore import QUrl
from {package}.QtWidgets import QApplication
from {package}.QtWebEngineWidgets import QWebEngineView
application = QApplication(sys.argv)
view = QWebEngineView()
view.resize(1280, 900)
view.load(QUrl("about:blank"))
view.show()
application.exec()
"""
QT_ENVIRONMENT = {
    "QT_QPA_PLATFORM": "offscreen",
    "QTWEBENGINE_DISABLE_SANDBOX": "1",
    "QTWEBENGINE_CHROMIUM_FLAGS": "--disable-gpu --hide-scrollbars",
}


class NoBrowserError(Exception):
    """No browser is there, or the one that is there does not start."""


def find_commands(port: int, profile: Path) -> list[tuple[list[str], dict[str, str]]]:
    """What can be started, and the environment that it needs, the best first."""
    named = os.environ.get("SIAMESE_BROWSER")
    programs = [named] if named else filter(None, map(shutil.which, PROGRAMS))
    options = [*FLAGS, f"--user-data-dir={profile}", f"--remote-debugging-port={port}", "about:blank"]
    found: list[tuple[list[str], dict[str, str]]] = [([program, *options], {}) for program in programs]
    for package in () if named else ("PySide6", "PyQt6"):
        if find_spec(package) and find_spec(f"{package}.QtWebEngineWidgets"):
            environment = QT_ENVIRONMENT | {"QTWEBENGINE_REMOTE_DEBUGGING": str(port)}
            found.append(([sys.executable, "-c", QT.format(package=package)], environment))
    return found


@dataclass
class Page:
    """A tab: commands go out, answers come back, and what the browser reports meanwhile is kept."""

    stream: socket.socket
    buffer: bytes = b""
    sent: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.sent += 1
        self._send(json.dumps({"id": self.sent, "method": method, "params": parameters}).encode())
        while True:
            message = self._receive()
            if message.get("id") == self.sent:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])
            self.events.append(message)

    def wait_for(self, event: str) -> None:
        while not any(message.get("method") == event for message in self.events):
            self.events.append(self._receive())

    def evaluate(self, script: str) -> Any:
        found = self.command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def open(self, path: Path, width: int, *, dark: bool = False) -> None:
        """Load a file at a width in pixels; at those of phones the browser behaves like one."""
        phone = width < 600
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.command("Page.navigate", url=path.resolve().as_uri())
        self.wait_for("Page.loadEventFired")
        self.evaluate(
            "Promise.all([...document.images].map(image => image.decode().catch(() => null))).then(() => 1)"
        )

    def complaints(self) -> list[str]:
        """Errors and warnings on the console, refused content, and loads that failed or went to the network."""
        found = []
        for event in self.events:
            method, parameters = event.get("method"), event.get("params", {})
            if method in ("Runtime.exceptionThrown", "Network.loadingFailed", "Runtime.consoleAPICalled"):
                found.append(f"{method}: {json.dumps(parameters)[:300]}")
            if method == "Log.entryAdded":
                found.append(f"{parameters['entry']['level']}: {parameters['entry']['text']}")
            if method == "Network.requestWillBeSent":
                url = parameters["request"]["url"]
                if not url.startswith(("data:", "file:")):
                    found.append(f"request to {url}")
        return found

    def screenshot(self, path: Path) -> None:
        """The whole page."""
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        picture = self.command("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))

    def _send(self, payload: bytes) -> None:
        """A text frame of RFC 6455, masked as clients must."""
        length, mask = len(payload), secrets.token_bytes(4)
        head = bytes([0x81])
        if length < 126:
            head += bytes([0x80 | length])
        elif length < 1 << 16:
            head += bytes([0x80 | 126]) + struct.pack(">H", length)
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", length)
        self.stream.sendall(head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload)))

    def _receive(self) -> dict[str, Any]:
        text, last = b"", False
        while not last:
            first, second = self._take(2)
            last, length = bool(first & 0x80), second & 0x7F
            if length > 125:
                length = int.from_bytes(self._take(2 if length == 126 else 8), "big")
            part = self._take(length)
            if first & 0x0F == 8:
                raise ConnectionError("the browser closed the connection")
            text += part if first & 0x0F in (0, 1) else b""
        return dict(json.loads(text)) if text else {}

    def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            more = self.stream.recv(1 << 16)
            if not more:
                raise ConnectionError("the browser is gone")
            self.buffer += more
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with one empty tab; it is ended afterwards.

    Raises:
        NoBrowserError: none is there, or it does not start; the message is a reason to skip a test.
    """
    port, log, reasons = _free_port(), profile / "browser.log", []
    for command, environment in find_commands(port, profile):
        try:
            process, stream = _start(command, environment, port, log)
        except NoBrowserError as reason:  # a browser that lacks a library of the system, or is only a stub
            reasons.append(f"{Path(command[0]).name} {reason}")
            continue
        try:
            with stream:
                yield Page(stream)
        finally:
            _end(process)
        return
    advice = "install Chromium, or PySide6-WebEngine by pip, or set SIAMESE_BROWSER to a program"
    raise NoBrowserError(f"no browser: {'; '.join(reasons) or advice}")


def _start(
    command: list[str], environment: dict[str, str], port: int, log: Path
) -> tuple["subprocess.Popen[bytes]", socket.socket]:
    """A browser, and the WebSocket of its tab."""
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=os.environ | environment, stdout=output, stderr=output, start_new_session=True
            )
    except OSError as error:
        raise NoBrowserError(f"cannot be started ({error.strerror or error})") from error
    try:
        return process, _connect(process, port, log)
    except BaseException:
        _end(process)
        raise


def _end(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _connect(process: "subprocess.Popen[bytes]", port: int, log: Path) -> socket.socket:
    """The tab's WebSocket, once the browser offers it."""
    give_up = time.monotonic() + WAIT
    while time.monotonic() < give_up and process.poll() is None:
        with contextlib.suppress(OSError, ValueError, StopIteration):
            with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                tabs = json.load(answer)
            address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
            return _handshake(port, "/" + address.split("/", 3)[3])
        time.sleep(0.1)
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise NoBrowserError(f"does not start ({' '.join(last) or 'it says nothing'})")


def _handshake(port: int, path: str) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    asked = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    stream.sendall(f"{asked}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):  # byte by byte: what follows belongs to the first frame
        byte = stream.recv(1)
        if not byte:
            raise ConnectionError("the browser is gone")
        answer += byte
    if not answer.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(answer.split(b"\r\n", 1)[0].decode())
    return stream
