"""What a person runs of the tracker: `seamwise predict track` and `seamwise eval track`."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, redirect_stdout
from itertools import count, dropwhile, islice
from pathlib import Path
from typing import Annotated, Any, final

import numpy as np
import typer

from seamwise.errors import InputError
from seamwise.files import readable
from seamwise.shapes import Float, NDArray
from seamwise.steps import Steps
from seamwise.systems.track.drawing_box import draw
from seamwise.systems.track.folders import Sequence as Labelled
from seamwise.systems.track.folders import check_scored, frames_of_sequence, sequences_of
from seamwise.systems.track.frames import Frames, frames_of
from seamwise.systems.track.predict import COLUMNS, BoxesFile, Follows, Seen, Track, csv_line, follow, record, run
from seamwise.systems.track.protocol import curves, mean_curves, scores
from seamwise.systems.track.truth import write_otb
from seamwise.trial import write_whole
from seamwise.video import Frame, VideoFile, is_camera

WRITABLE = (".mp4", ".m4v", ".mov", ".mkv", ".avi")
NAMED = {
    "auc": "success (AUC)",
    "precision": "precision (at 20 px)",
    "norm_precision": "normalised precision",
    "ao": "average overlap",
    "sr50": "overlap above .5",
    "sr75": "overlap above .75",
}
BOX = "four numbers x,y,w,h in px: the upper left corner, the frame's own being 0,0, then width and height"

_options: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}
_predict, _eval = typer.Typer(**_options), typer.Typer(**_options)
apps = {"predict": _predict, "eval": _eval}

ModelPath = Annotated[
    Path | None,
    typer.Option(
        "--model",
        help="What to track with: a folder that `train track` wrote, or weights; the shipped ones by default.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@_predict.command()
def predict(
    source: Annotated[
        str,
        typer.Argument(metavar="VIDEO_OR_FOLDER_OR_CAMERA", help="A video, a folder of frames, camera or camera:1."),
    ],
    box: Annotated[
        str | None, typer.Option(metavar="x,y,w,h", help="The object in the first frame, px from 0,0.")
    ] = None,
    start: Annotated[int, typer.Option(metavar="N", help="The frame that the box is in; the first is 0.")] = 0,
    model: ModelPath = None,
    out: Annotated[
        Path | None, typer.Option(metavar="CSV", help="File of the boxes; they are printed without it.")
    ] = None,
    video: Annotated[Path | None, typer.Option(metavar="MP4", help="Video of the frames with the boxes.")] = None,
    as_json: Json = False,
) -> None:
    """Follow an object: told where it is in one frame, say where it is in those after, or that it is lost.

    Columns: frame, time_s, x, y, w, h (px, from 0,0), confidence (0 to 1), state (tracked or lost). With --json a line
    a frame is printed. What was found is kept, whatever ends it; Ctrl-C is how a camera ends.

    Example: seamwise predict track street.mp4 --box 120,80,40,60 --out boxes.csv --video seen.mp4
    """
    place = _box(box, source)
    if start < 0:
        raise InputError(f"--start {start}", expected="0 for the first frame, or more")
    _check_places(source, model, out, video)
    with redirect_stdout(sys.stderr):
        frames = frames_of(source)
        tracker = _tracker(model)
    _warn(frames.warnings)
    told = _Told(source, out, as_json)
    try:
        with ExitStack() as stack:
            rows = None if out is None else stack.enter_context(BoxesFile(out))
            film = None if video is None else stack.enter_context(VideoFile(video, frames.fps))
            steps = stack.enter_context(Steps("frames"))
            for seen in follow(tracker, _from(frames, start, source), place, source):
                if rows is not None:
                    rows.add(seen)
                told.add(seen)
                if film is not None:
                    film.add(draw(seen))
                steps.at(start + told.n, frames.n_frames)
    except KeyboardInterrupt:
        if is_camera(source) and told.n:
            return
        raise
    finally:
        told.end()
    _check_end(source, frames, start, told.n)


@_eval.command(name="eval")
def evaluate(
    data: Annotated[
        list[Path],
        typer.Option("--data", help="A folder of sequences, or one: OTB's, GOT-10k's or VOT's way; repeatable."),
    ],
    model: ModelPath = None,
    results: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the boxes found, NAME.txt as OTB's toolkit reads it.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for success.svg and precision.svg.")] = None,
    as_json: Json = False,
) -> None:
    """Score the tracker on sequences with known boxes: one pass over each, told where the object is in its first frame.

    A sequence that cannot be read is named, and the others go on. Frames a second are the tracker's alone, and, apart
    from that, with reading the pictures.

    Example: seamwise eval track --data otb/ --results boxes/ --plots plots/ --json
    """
    refused: list[InputError] = []
    sequences = sequences_of(data, refused.append)
    for error in refused:
        print(f"error: {error}", file=sys.stderr)
    _check_results(results, data, sequences)
    if plots is not None and plots.exists() and not plots.is_dir():
        raise InputError(f"--plots {plots}: is no folder", remedy="give another folder")
    with redirect_stdout(sys.stderr):
        tracker = _tracker(model)
        passes = _passes(tracker, sequences, results)
    if not passes:
        remedy = "see above what was wrong with each"
        n = len(sequences) + len(refused)
        raise InputError(f"none of {n:,} sequences could be followed: there is no score", remedy=remedy)
    told = _scored(passes) | {"n_failed": len(sequences) + len(refused) - len(passes)}
    print(json.dumps(told) if as_json else _table(told))
    if plots is not None:
        _plot(plots, "seamwise" if model is None else model.resolve().name, passes)


def _tracker(model: Path | None) -> Follows:
    import torch  # takes seconds

    from seamwise.systems.track.tracker import Tracker

    torch.set_num_threads(1)  # a second gains a tenth on idle cores; where they are busy both wait for one another
    return Tracker(model)


def _box(text: str | None, source: str) -> Float[NDArray, "4"]:
    """The box as it was typed."""
    if text is None:
        remedy = "open the first frame in a picture viewer, which shows where the pointer is; then --box 120,80,40,60"
        if is_camera(source):
            remedy = "take a picture with the camera, hold the object where the box is to be; then --box 120,80,40,60"
        raise InputError("--box is missing: what is to be followed", expected=BOX, remedy=remedy)
    try:
        place = np.array([float(number) for number in re.split(r"\s*[,;\s]\s*", text.strip())])
    except ValueError:
        place = np.array([])
    if len(place) != 4 or not np.isfinite(place).all():
        raise InputError(f"--box {text}: no box", given=text, expected=BOX, remedy="for example --box 120,80,40,60")
    if not (place[2:] > 0).all():
        raise InputError(f"--box {text}: a box of no size", expected="a width and a height above 0 px")
    return place


def _check_places(source: str, model: Path | None, out: Path | None, video: Path | None) -> None:
    """That nothing is written over what is read, or over one another."""
    kept = {Path(source): "what is followed"} | ({} if model is None else {model: "the model"})
    for option, path in (("--out", out), ("--video", video)):
        if path is None:
            continue
        for other, what in kept.items():
            with readable(path):
                is_kept = _same(path, other) or (other.is_dir() and _is_read(path, other))
            if is_kept:
                raise InputError(f"{option} {path}: would be written over {what}", remedy="give another name")
        if path.is_dir():
            raise InputError(f"{option} {path}: is a folder", expected="the name of a file")
        kept[path] = f"{option} too"
    if video is not None and video.suffix.lower() not in WRITABLE:
        raise InputError(f"--video {video}: no such kind of video", given=video.suffix, expected=" ".join(WRITABLE))


def _same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


def _is_read(path: Path, folder: Path) -> bool:
    """Whether a file of the folder would be gone that was not written by this command."""
    if not (path.is_file() and path.resolve().is_relative_to(folder.resolve())):
        return False
    with readable(path), path.open("rb") as file:
        head = csv_line(COLUMNS).encode()
        return file.read(len(head)) != head


def _from(frames: Frames, start: int, source: str) -> Iterator[Frame]:
    """The frames from one on. Raises InputError where that one is missing: the box would be in another."""
    rest = dropwhile(lambda frame: frame.number < start, frames)
    for frame in islice(rest, 1):
        if start and frame.number != start:
            given = f"--start {start}, which is missing"
            raise InputError(f"{source}: no such frame", given=given, expected=f"--start {frame.number}, the next one")
        yield frame
    yield from rest


def _check_end(source: str, frames: Frames, start: int, n: int) -> None:
    """Whether the frames came to their own end. Raises InputError where there were none to follow anything in."""
    if frames.cut:
        print(f"error: {source}: {frames.end}", file=sys.stderr)
        raise typer.Exit(2)
    if not n:
        raise InputError(f"{source}: {frames.end}", given=f"--start {start}", expected="a frame of these")


def _warn(warnings: Sequence[str]) -> None:
    for text in warnings:
        print(f"warning: {text}", file=sys.stderr)


@final
class _Told:
    """Says where the object is frame by frame, and in the end how it went."""

    def __init__(self, source: str, out: Path | None, as_json: bool) -> None:
        self._source, self._out, self._as_json = source, out, as_json
        self._was_lost, self._n_lost, self._n_spells, self._seconds = False, 0, 0, 0.0
        self.n = 0

    def add(self, seen: Seen) -> None:
        """One more frame."""
        self._n_spells += seen.lost and not self._was_lost
        self._was_lost = seen.lost
        self._n_lost += seen.lost
        self._seconds += seen.seconds
        if self._as_json:
            print(json.dumps(record(seen)), flush=True)
        elif self._out is None:
            print(("" if self.n else csv_line(COLUMNS)) + csv_line(record(seen).values()), end="", flush=True)
        self.n += 1

    def end(self) -> None:
        """Sum up, on stderr."""
        if not self.n:
            return
        fps = f"{self.n / self._seconds:.3g}" if self._seconds else "any number of"
        times = "once" if self._n_spells == 1 else f"{self._n_spells:,} times"
        lost = f"lost {times}, in {self._n_lost:,} of them" if self._n_lost else "never lost"
        kept = "" if self._out is None else f"; boxes in {self._out}"
        speed = f"{fps} a second (the tracker alone)"
        print(f"{self._source}: {self.n:,} frames followed, {speed}; {lost}{kept}", file=sys.stderr)


_Passes = list[tuple[Labelled, Track]]


def _passes(tracker: Follows, sequences: Sequence[Labelled], results: Path | None) -> _Passes:
    """One pass over each sequence that can be read; the others are named on stderr."""
    done, n = _Passes(), sum(len(s.frames) for s in sequences)
    with Steps("frames") as steps:
        n_seen = count(1)
        for sequence in sequences:
            name = sequence.name
            _warn([f"{name}: {text}" for text in sequence.warnings])
            try:
                check_scored([sequence])
                frames = frames_of_sequence(sequence)
                track = run(tracker, frames, sequence.boxes[0], lambda seen: steps.at(next(n_seen), n), name)
            except InputError as error:
                text = str(error)
                print(f"error: {text if name in text else f'{name}: {text}'}", file=sys.stderr)
                continue
            done.append((sequence, track))
            if results is not None:
                write_otb(results / f"{name}.txt", track.boxes)
    return done


def _check_results(results: Path | None, data: Sequence[Path], sequences: Sequence[Labelled]) -> None:
    """That no file of the data is written over."""
    read = {path.resolve() for path in data}
    read |= {folder.resolve() for s in sequences for folder in (s.frames[0].parent, s.frames[0].parent.parent)}
    if results is not None and results.resolve() in read:
        raise InputError(f"--results {results}: the data are there", remedy="give another folder")


def _scored(passes: _Passes) -> dict[str, Any]:
    sequences, tracks = [s for s, _ in passes], [track for _, track in passes]
    told = scores(
        sequences,
        [track.boxes for track in tracks],
        [track.seconds for track in tracks],
        [track.lost for track in tracks],
        [track.size for track in tracks],
    )
    with_reading = [len(track.boxes) / (track.seconds + track.reading_s) for track in tracks]
    return told | {"fps_with_reading": float(np.mean(with_reading))}


def _plot(folder: Path, name: str, passes: _Passes) -> None:
    from seamwise.systems.track.plots import precision_svg, success_svg

    mean = {name: mean_curves([curves(sequence.boxes, track.boxes) for sequence, track in passes])}
    write_whole(folder / "success.svg", success_svg(mean).encode())
    write_whole(folder / "precision.svg", precision_svg(mean).encode())


def _table(told: dict[str, Any]) -> str:
    """The scores for a person."""

    def of(key: str) -> str:
        if told[f"{key}_low"] is None:
            return _number(told[key])
        return f"{_number(told[key])} [{told[f'{key}_low']:.3f}, {told[f'{key}_high']:.3f}]"

    failed = f"; {told['n_failed']:,} could not be followed" if told["n_failed"] else ""
    n = told["n_sequences"]
    lines = [
        f"{n:,} sequence{'' if n == 1 else 's'}, {told['n_frames']:,} frames with the object{failed}; 90 % intervals:"
    ]
    lines += [f"  {what:40}{of(key)}" for key, what in NAMED.items()]
    speed = f"{_number(told['fps'], 1)} (the tracker alone; with reading {told['fps_with_reading']:.1f})"
    lines.append(f"  {'frames a second':40}{speed}")
    if told["lost_when_absent"] is not None:
        shares = f"{told['lost_when_absent']:.3f}, and where it is {_number(told['lost_when_present'])}"
        lines.append(f"  {'said to be lost where it is absent':40}{shares}")
    rows = told["per_sequence"]
    width = max(len(name) for name in rows)
    lines.append(f"  {'':{width}}     AUC  precision  overlap      fps")
    for name, row in rows.items():
        figures = f"{row['auc']:7.3f}{row['precision']:11.3f}{_number(row['ao']):>9}{_number(row['fps'], 1):>9}"
        lines.append(f"  {name:{width}} {figures}")
    return "\n".join(lines)


def _number(value: float | None, decimals: int = 3) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
