"""The page of a look with 1,152 units and nine patches each: its size, and how soon it is seen in Chromium.

Beside it the same patches as PNG, a picture a patch, all of them in the page at once. Patches are pieces of pictures as
photographs are (noise whose power falls with frequency, with edges), or with --noise plain noise, which no JPEG likes.
"""

import argparse
import base64
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from seamwise.look.page.page import LayerFacts, Row, Unit, write_page

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from browser import browser, chromium

SIDE_PX, MOST_MB, MOST_S = 64, 30, 3
LARGEST_PEER_MB = 200  # a larger one takes a browser minutes
PAINT_MS = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
LOAD_MS = "performance.timing.loadEventEnd - performance.timing.navigationStart"
CARDS = "[...document.querySelectorAll('img')].filter(i => i.getBoundingClientRect().top < innerHeight)"
SEEN = f"({CARDS}).length > 3 && ({CARDS}).every(i => i.complete && i.naturalWidth)"


def stock(n: int, noise: bool, side_px: int = 256) -> np.ndarray:
    """Pictures to cut patches from, uint8 [n, side, side, 3]."""
    random = np.random.default_rng(0)
    white = random.normal(size=(n, side_px, side_px, 3))
    if noise:
        return (white * 40 + 128).clip(0, 255).astype(np.uint8)
    across = np.fft.fftfreq(side_px)
    power = 1 / np.maximum(np.hypot(across[:, None], across), 1 / side_px)
    smooth = np.fft.ifft2(np.fft.fft2(white, axes=(1, 2)) * power[None, :, :, None], axes=(1, 2)).real
    smooth /= smooth.std(axis=(1, 2, 3), keepdims=True)
    mixed = smooth @ np.array([[0.9, 0.8, 0.7], [0.3, 0, -0.3], [0.1, -0.2, 0.1]])
    pictures = (mixed * 45 + 120).clip(0, 255).astype(np.uint8)
    for picture in pictures:
        for _ in range(6):
            corners = random.integers(0, side_px, (3, 2)).astype(np.int32)
            cv2.fillPoly(picture, [corners], random.integers(0, 256, 3).tolist(), cv2.LINE_AA)
    return pictures


def units(n: int, n_rows: int, pictures: np.ndarray) -> Iterator[Unit]:
    random = np.random.default_rng(1)
    names = ["exemplars", "deconvnet", "guided backpropagation", "randomised"]
    for i in range(n):
        rows = []
        for name in names[:n_rows]:
            which = random.integers(0, len(pictures), 9)
            top, left = random.integers(0, pictures.shape[1] - SIDE_PX, (2, 9))
            cut = [pictures[w, t : t + SIDE_PX, x : x + SIDE_PX] for w, t, x in zip(which, top, left, strict=True)]
            said = tuple(f"{9.5 - k:.2f}, picture {which[k]}, {top[k]}, {left[k]}" for k in range(9))
            rows.append(Row(name, np.array(cut), said))
        facts = {"selectivity": random.random(), "concept": f"concept {i % 7}", "dead": i % 50 == 7}
        yield Unit(f"conv{1 + 5 * i // n}", i, facts, tuple(rows))


def peer(path: Path, found: Iterator[Unit]) -> int:
    """A PNG a patch, all in the page."""
    pages = ["<!doctype html>"]
    for unit in found:
        pages.append(f"<h3>{unit.layer}/{unit.unit}</h3>")
        for tile in (tile for row in unit.rows for tile in row.tiles):
            png = base64.b64encode(cv2.imencode(".png", tile[..., ::-1])[1].tobytes()).decode()
            pages.append(f'<img src="data:image/png;base64,{png}">')
    path.write_text("".join(pages))
    return path.stat().st_size


def opened(path: Path, profile: str) -> tuple[float, float, float]:
    """Seconds to the first paint, to the end of loading, and until the pictures in view are there."""
    with browser(profile) as tab:
        size = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        tab.send("Emulation.setDeviceMetricsOverride", **size)
        start = time.perf_counter()
        tab.send("Page.navigate", url=path.as_uri())
        while not tab.run(SEEN):
            time.sleep(0.01)
        seen = time.perf_counter() - start
        while tab.run("document.readyState") != "complete" or (paint := tab.run(PAINT_MS)) is None:
            time.sleep(0.01)
        return paint / 1000, tab.run(LOAD_MS) / 1000, seen


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--units", type=int, default=1152)
    asked.add_argument("--rows", type=int, default=1, help="rows of nine patches a unit, 1 to 4")
    asked.add_argument("--noise", action="store_true")
    asked.add_argument("--keep", type=Path, help="write the page here, and leave it")
    options = asked.parse_args()
    cv2.setNumThreads(1)
    pictures = stock(64, options.noise)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        layers = [LayerFacts(f"conv{k}", "convolution", options.units // 5) for k in range(1, 6)]
        out = options.keep or Path(folder) / "look.html"
        found = units(options.units, options.rows, pictures)
        page = write_page(out, "A page of many units", (), layers, found, options.units)
        written_s = time.perf_counter() - start
        files = [page] if page == out else [p for p in page.parent.rglob("*") if p.is_file()]
        size_mb = sum(p.stat().st_size for p in files) / 1e6
        print(f"{options.units:,} units x {options.rows} x 9 patches of {SIDE_PX} px, written in {written_s:.1f} s")
        print(f"size: {size_mb:.1f} MB (at most {MOST_MB})")
        peer_mb = peer(Path(folder) / "peer.html", units(options.units, options.rows, pictures)) / 1e6
        print(f"size with a PNG a patch: {peer_mb:.1f} MB; ratio {size_mb / peer_mb:.2f}")
        if chromium() is None:
            print("no chromium on this machine: not opened")
            return
        for name, path in (("this page", page), ("a PNG a patch", Path(folder) / "peer.html")):
            if path != page and peer_mb > LARGEST_PEER_MB:
                print(f"{name}: too large to be opened here")
                continue
            paint, load, seen = opened(path, f"{folder}/profile-{path.stem}")
            at_most = f" (at most {MOST_S})" if path == page else ""
            print(f"{name}: first paint {paint:.2f} s, loaded {load:.2f} s, cards in view {seen:.2f} s{at_most}")


if __name__ == "__main__":
    main()
