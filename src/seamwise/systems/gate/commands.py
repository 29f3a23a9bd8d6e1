"""What a person runs of the gate: `seamwise predict gate` and `seamwise eval gate`."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any, final

import cv2
import numpy as np
import typer
from jaxtyping import UInt8

from seamwise import pictures, video
from seamwise.errors import InputError, SeamwiseError
from seamwise.pictures import read_photo
from seamwise.shapes import Bool, Float, Int, NDArray
from seamwise.steps import Steps
from seamwise.systems.gate.drawing import draw
from seamwise.systems.gate.gate import AnySight, Decision, Gate, Tail, check_far, first_line, flaw
from seamwise.systems.gate.photos import Person, find_people
from seamwise.systems.gate.protocol import MIN_CHOICES, open_set, scores
from seamwise.trial import storage_error, write_whole
from seamwise.video import Video, VideoFile

MOST_CHOICES = 10_000
STATED = {"5pct": 0.05, "1pct": 0.01, "01pct": 0.001}

_options: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}
_predict, _eval = typer.Typer(**_options), typer.Typer(**_options)
apps = {"predict": _predict, "eval": _eval}

ModelPath = Annotated[
    Path | None,
    typer.Option(
        "--model", help="What to see with: a folder that `train gate` wrote, or weights; the shipped ones by default."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@_predict.command()
def predict(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Photographs, video files, camera or camera:1.")
    ],
    enrol: Annotated[
        Path, typer.Option(metavar="PEOPLE_DIR", help="A folder with a sub-folder of photographs a person.")
    ],
    far: Annotated[float, typer.Option(help="The probability that a stranger who comes once is let in.")] = 0.01,
    frames: Annotated[
        int, typer.Option(help="Of a video: open after so many frames looked at, in a row, with one person.")
    ] = 3,
    every: Annotated[int, typer.Option(metavar="N", help="Of a video: look at every N-th frame.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder for pictures and videos of what was seen.")] = None,
    log: Annotated[Path | None, typer.Option(help="File that each decision is appended to, as a line of JSON.")] = None,
    model: ModelPath = None,
    as_json: Json = False,
) -> None:
    """A gate: it opens to those who are enrolled, and says why where it does not.

    A file that cannot be read is named, and the others go on.

    Example: seamwise predict gate --enrol people/ --far 0.01 visitor.jpg door.mp4 camera
    """
    check_far(far)
    _check_count("--frames", frames)
    _check_count("--every", every)
    people = find_people(enrol)
    with ExitStack() as stack:
        teller = _Teller(as_json, None if log is None else stack.enter_context(_appended(log)))
        places = _Places(out, [*sources, *(str(photo) for person in people for photo in person.photos)])
        with redirect_stdout(sys.stderr), Steps("photographs enrolled") as steps:
            gate = Gate.enrol(people, _sight(model), far, steps.at)
        n_failed = _tell_enrolment(gate)
        for source in sources:
            n_failed += _answer(gate, source, frames, every, places, teller)
    if n_failed:
        raise typer.Exit(2)


@_eval.command(name="eval")
def evaluate(
    data: Annotated[Path, typer.Option(help="A folder with a sub-folder of photographs a person.")],
    enrol: Annotated[int, typer.Option(metavar="K", help="How many photographs of each person are enrolled.")] = 1,
    choices: Annotated[int, typer.Option(help="How often other photographs are drawn to be enrolled.")] = 50,
    model: ModelPath = None,
    refuse: Annotated[
        bool, typer.Option("--refuse/--no-refuse", help="Whether unclear photographs are refused at enrolment.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Score the gate on photographs of people: recognised, let in, kept out.

    Example: seamwise eval gate --data people/ --enrol 1 --json
    """
    _check_count("--enrol", enrol)
    _check_count("--choices", choices, MIN_CHOICES)
    if choices > MOST_CHOICES:
        raise InputError(f"--choices {choices}", expected=f"at most {MOST_CHOICES:,}")
    people = find_people(data)
    with redirect_stdout(sys.stderr):
        sight = _sight(model)
        tail = Tail.of(sight.impostor_scores)
        with Steps("photographs looked at") as steps:
            faces = _look_at(people, sight, refuse, steps)
    may_enrol = faces.may_enrol if refuse else None
    told: dict[str, float] = dict(
        scores(faces.embedding, faces.person, enrol, choices, may_enrol=may_enrol).flat(),
        n_unreadable=faces.n_unreadable,
    )
    for name, far in STATED.items():
        measured = open_set(
            faces.embedding,
            faces.person,
            lambda templates, far=far: tail.threshold(far, templates),  # type: ignore[misc]
            enrol,
            choices,
            may_enrol=may_enrol,
        ).flat()
        for key, field in ((f"far_{name}_measured", "false_accept"), (f"far_{name}_tar", "true_accept")):
            told |= {f"{key}{end}": measured[f"{field}{end}"] for end in ("", "_low", "_high")}
    print(json.dumps(told) if as_json else _score_lines(told, enrol))


def _sight(model: Path | None) -> AnySight:
    if model is not None and model.is_dir():
        from seamwise.systems.gate.studied import load_studied

        return load_studied(model)
    from seamwise.systems.gate.sight import load_sight

    return load_sight(model)


def _check_count(option: str, n: int, least: int = 1) -> None:
    if n < least:
        raise InputError(f"{option} {n}", expected=f"at least {least}")


def _appended(path: Path) -> IO[str]:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--log {path}: cannot be written", given=str(error.strerror)) from None


def _tell_enrolment(gate: Gate) -> int:
    """Say on stderr who and what could not be enrolled; how many people and files that concerns."""
    n_failed = len(gate.refused)
    for person in gate.enrolled:
        for photo in person.refused:
            n_failed += photo.unreadable
            print(f"{'error' if photo.unreadable else 'not enrolled'}: {photo}", file=sys.stderr)
    for refused in gate.refused:
        _tell_error(refused.error)
    if gate.threshold >= 1:
        print("warning: nobody can be let in at so low a false-accept rate; give a higher --far", file=sys.stderr)
    for one, two, score in gate.alike:
        told = f"{one} and {two} are as alike as one person ({score:.2f}, threshold {gate.threshold:.2f})"
        print(f"warning: {told}: each may be let in as the other", file=sys.stderr)
    return n_failed


def _tell_error(error: SeamwiseError | str, source: str = "") -> None:
    text = str(error)
    print(f"error: {text}" if source in text else f"error: {source}: {text}", file=sys.stderr)


def _answer(gate: Gate, source: str, n_frames: int, every: int, places: "_Places", teller: "_Teller") -> int:
    """Decide on one source, and say and draw it. How many errors there were."""
    try:
        found = _open(source)
        if isinstance(found, Video):
            return _answer_video(gate, found, n_frames, every, places.of(source, ".mp4"), teller)
        decision = gate.decide(found)
        teller.say(source, decision)
        place = places.of(source, ".png")
        if place is not None:
            write_whole(place, _png(draw(found, decision)))
    except InputError as error:
        teller.say(source, gate.blind)
        _tell_error(error, source)
        return 1
    return 0


def _open(source: str) -> UInt8[NDArray, "height width 3"] | Video:
    """A photograph or a video, by the suffix; where that says nothing, whichever can be read."""
    path = Path(source)
    if video.is_camera(source) or path.suffix.lower() in video.SUFFIXES:
        return Video(source)
    if path.suffix.lower() in pictures.SUFFIXES or not path.is_file():
        return read_photo(path)
    try:
        return read_photo(path)
    except InputError as photo_error:
        try:
            return Video(source)
        except InputError:
            raise InputError(f"{source}: neither a photograph nor a video", given=first_line(photo_error)) from None


def _answer_video(gate: Gate, source: Video, n_frames: int, every: int, place: Path | None, teller: "_Teller") -> int:
    with ExitStack() as stack:
        drawn = None if place is None else stack.enter_context(VideoFile(place, source.fps / every))
        steps = stack.enter_context(Steps("frames"))
        for frame, decision in _watched(gate, source, n_frames, every):
            teller.say(source.source, decision, frame.number, frame.time_s)
            steps.at(frame.number + 1, source.n_frames)
            if drawn is not None:
                drawn.add(draw(frame.picture, decision))
    if not source.cut:
        print(f"{source.source}: {source.end}", file=sys.stderr)
        return 0
    teller.say(source.source, gate.blind, None)
    _tell_error(f"{source.source}: {source.end}")
    return 1


def _watched(gate: Gate, source: Video, n_frames: int, every: int) -> Iterator[tuple[video.Frame, Decision]]:
    latest: list[video.Frame] = []

    def pictures() -> Iterator[UInt8[NDArray, "height width 3"]]:
        for frame in source.frames(every):
            latest[:] = [frame]
            yield frame.picture

    for decision in gate.watch(pictures(), n_frames):
        yield latest[0], decision


def _png(picture: UInt8[NDArray, "height width 3"]) -> bytes:
    _, encoded = cv2.imencode(".png", picture[..., ::-1])
    return bytes(encoded.tobytes())


@final
@dataclass(frozen=True)
class _Teller:
    """Says each decision, and writes it into the log."""

    as_json: bool
    log: IO[str] | None

    def say(self, source: str, decision: Decision, frame: int | None = None, time_s: float | None = None) -> None:
        line = {"file": source, "frame": frame, "time_s": time_s} | asdict(decision)
        record = _rounded({name: value for name, value in line.items() if name != "time_s" or value is not None})
        print(json.dumps(record) if self.as_json else _said(source, decision, frame, time_s), flush=True)
        if self.log is not None:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            try:
                self.log.write(json.dumps({"at": now, **record}) + "\n")
                self.log.flush()
            except OSError as error:
                raise storage_error(Path(self.log.name), error) from error


def _rounded(value: Any) -> Any:
    """For JSON: numbers of six places, and none where there is no number."""
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def _said(source: str, decision: Decision, frame: int | None, time_s: float | None) -> str:
    where = source if frame is None else f"{source}, frame {frame} ({time_s:.1f} s)"
    told = f"open: {decision.who}" if decision.open else f"closed: {decision.reason}"
    if decision.who is not None and not decision.open:
        told += f", {decision.who}"
    if decision.score is not None:
        rate = f"{_percent(decision.far)} % [{_percent(decision.far_low)}, {_percent(decision.far_high)}]"
        score = f"score {decision.score:.2f}, threshold {decision.threshold:.2f}"
        told += f" ({score} for a false-accept rate of {rate})"
    if len(decision.faces) > 1:
        told += f"; {len(decision.faces)} faces, the largest decides"
    return f"{where}: {told}"


def _percent(share: float) -> str:
    if 0 < share < 1e-5:
        return "under 0.001"
    return f"{100 * share:.3g}" if share >= 0.1 else f"{100 * share:.2g}"


@final
class _Places:
    """Where pictures of what was seen go: each source its own file, also where two have one name, and none of `kept`.

    Raises InputError where the folder cannot be made or written.
    """

    def __init__(self, folder: Path | None, kept: Sequence[str] = ()) -> None:
        self._folder = folder
        self._taken: set[Path] = {Path(path).resolve() for path in kept}
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {folder}: no folder can be made there", given=str(error.strerror)) from None
        if not os.access(folder, os.W_OK):
            raise InputError(f"--out {folder}: may not be written", remedy="give another folder")

    def of(self, source: str, suffix: str) -> Path | None:
        if self._folder is None:
            return None
        stem = name = source.replace(":", "-") if video.is_camera(source) else Path(source).stem
        number = 1
        while (place := (self._folder / (name + suffix)).resolve()) in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._taken.add(place)
        return self._folder / (name + suffix)


@final
@dataclass(frozen=True)
class _Faces:
    """The largest face of each photograph: its embedding (NaN: none), whose it is, whether it may be enrolled."""

    embedding: Float[NDArray, "n d"]
    person: Int[NDArray, " n"]
    may_enrol: Bool[NDArray, " n"]
    n_unreadable: int


def _look_at(people: Sequence[Person], sight: AnySight, refuse: bool, steps: Steps) -> _Faces:
    """Every photograph of everybody. Raises InputError where there is no face at all."""
    found: list[tuple[int, Float[NDArray, " d"] | None, bool]] = []
    every = [(k, path) for k, person in enumerate(people) for path in person.photos]
    for person in people:
        if not person.photos:
            print(f"note: {person.name}: no photographs", file=sys.stderr)
    for n_done, (k, path) in enumerate(every, start=1):
        try:
            faces = sight.look(read_photo(path))
            found.append((k, faces[0].embedding if faces else None, flaw(faces) is None if refuse else True))
        except InputError as error:
            _tell_error(first_line(error), str(path))
        steps.at(n_done, len(every))
    sizes = [len(embedding) for _, embedding, _ in found if embedding is not None]
    if not sizes:
        given = f"{len(found)} photographs that could be read"
        raise InputError("no face in any photograph", given=given, expected="photographs of people's faces")
    none = np.full(sizes[0], np.nan)
    return _Faces(
        np.stack([none if embedding is None else embedding for _, embedding, _ in found]),
        np.array([k for k, _, _ in found]),
        np.array([may for _, _, may in found]),
        len(every) - len(found),
    )


def _score_lines(told: dict[str, float], n_enrol: int) -> str:
    def of(name: str) -> str:
        return f"{told[name]:.3f} [{told[f'{name}_low']:.3f}, {told[f'{name}_high']:.3f}]"

    n = {name: f"{int(value):,}" for name, value in told.items() if name.startswith("n_")}
    left = f"left out: {n['n_left_out']} people with too few photographs that may be enrolled"
    files = f"without a face: {n['n_unseen']}; refused at enrolment: {n['n_refused']}; unreadable: {n['n_unreadable']}"
    lines = [
        f"{n['n_people']} people, {n_enrol} of each one's photographs enrolled, {n['n_probes']} others shown to it",
        f"{files}; {left}",
        f"identification          {of('identification')} (90 % interval)",
        f"true accepts at 1 %     {of('tar_at_far_1pct')} of false accepts; equal error rate {of('eer')}",
        "half of the people enrolled, the others strangers:",
    ]
    for name, far in STATED.items():
        measured = f"measured {of(f'far_{name}_measured')}, true accepts {of(f'far_{name}_tar')}"
        lines.append(f"  false accepts stated {far:g}: {measured}")
    return "\n".join(lines)
