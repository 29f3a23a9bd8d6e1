"""Chromium without a window, driven by its own protocol over a pipe."""

import base64
import functools
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)

PLACE = """
import os, sys
low, high = os.dup(int(sys.argv[1])), os.dup(int(sys.argv[2]))
for file, place in ((low, 3), (high, 4)):
    os.dup2(file, place)
    os.set_inheritable(place, True)
os.execv(sys.argv[3], sys.argv[3:])
"""  # the protocol's pipes are files 3 and 4


@functools.cache
def chromium():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


class Tab:
    """One page. told: the events that the browser sent, in order."""

    def __init__(self, read, write):
        self.read, self.write, self.told, self.session, self._rest, self._n = read, write, [], None, b"", 0

    def send(self, method, **params):
        """Ask, and wait for the answer."""
        self._n += 1
        message = {"id": self._n, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._n:
                assert "error" not in found, found
                return found["result"]
            self.told.append(found)

    def _next(self):
        while b"\0" not in self._rest:
            part = os.read(self.read, 1 << 20)
            assert part, "the browser is gone"
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def start(self):
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def run(self, script):
        """The value of an expression in the page."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, path, width=1280, height=900, dark=False, media="", until="document.documentElement.dataset.drawn"):
        """Show a page at a size and in a colour scheme, and wait until an expression holds."""
        phone = width < 600
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.told.clear()
        self.send("Page.navigate", url=path.as_uri())
        end = time.monotonic() + 60
        while not self.run(f"document.readyState === 'complete' && Boolean({until})"):
            assert time.monotonic() < end, "the page was not drawn"
            time.sleep(0.05)

    def press(self, key):
        code, text = KEYS[key]
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text)

    def picture(self, path):
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.send("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def heard(self):
        """What the page wrote to the console, and what went wrong in it."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [e["params"] for e in self.told if e.get("method") in kinds]

    def asked_for(self):
        """The addresses that the page asked for."""
        sent = [e["params"]["request"]["url"] for e in self.told if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:")]


KEYS = {"Tab": (9, ""), "Enter": (13, "\r")}


@contextmanager
def browser(profile):
    """A tab of a browser that has its own profile folder, ended at the end."""
    to_read, from_us = os.pipe()
    from_it, to_write = os.pipe()

    command = [sys.executable, "-c", PLACE, str(to_read), str(to_write), str(chromium()), *FLAGS]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        [*command, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(to_read, to_write),
        stdout=quiet,
        stderr=quiet,
    )
    os.close(to_read)
    os.close(to_write)
    tab = Tab(from_it, from_us)
    try:
        tab.start()
        yield tab
    finally:
        process.terminate()
        process.wait(20)
        os.close(from_it)
        os.close(from_us)
