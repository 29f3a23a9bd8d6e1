"""The items that a network is looked at with: pictures of a folder, or what reaches a stage of a chain."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import cv2
import numpy as np
import torch

from seamwise.errors import InputError, SeamwiseError
from seamwise.look.world import CLASSES, Scenes, draw
from seamwise.pictures import SUFFIXES, read_photo
from seamwise.shapes import Float, NDArray, Shaped, Tensor, UInt8

Tone = tuple[tuple[float, ...], tuple[float, ...]]
"""(mean, standard deviation) of each colour, of values from 0 to 1, by which a network's pictures were made even."""

IMAGENET: Tone = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # what torchvision's weights were trained with
AS_IT_IS: Tone = ((0.0,), (1.0,))
KEPT_BYTES = 1 << 28  # of decoded pictures
SCENES_SEED = 77  # none that a network is trained on


class Items(ABC):
    """What a network is looked at with, item by item, always in the same order.

    names: of the items seen so far; classes: theirs, where `class_names` has any. skipped: what could not be read, and
    why. n: how many items there are, at most.
    """

    def __init__(self, n: int, class_names: Sequence[str]) -> None:
        self.n, self.class_names = n, tuple(class_names)
        self.names: list[str] = []
        self.classes: list[int] = []
        self.skipped: list[str] = []

    @abstractmethod
    def batches(self, size: int) -> Iterator[list[Tensor]]:
        """The network's inputs, so many items at a time."""

    @abstractmethod
    def inputs(self, items: Sequence[int]) -> list[Tensor]:
        """The network's inputs for some items, by their numbers."""

    @abstractmethod
    def shown(self, pictures: Float[Tensor, "n colours height width"]) -> UInt8[NDArray, "n height width 3"]:
        """Pictures as the network gets them, for people."""


@final
class Folder(Items):
    """The pictures of a folder, brought to one size; where all are in its folders, each of these is a class.

    A picture is scaled so that it covers side x side px, and its middle is taken. What cannot be read is skipped, and
    said. No more than 256 MiB of pictures are kept. Raises InputError where there is no folder or no picture.
    """

    def __init__(self, folder: Path, side_px: int, n_colours: int = 3, tone: Tone = AS_IT_IS) -> None:
        if not folder.is_dir():
            given = "a file" if folder.is_file() else "nothing there"
            raise InputError(f"{folder}: no folder of pictures", given=given, expected="a folder with pictures in it")
        self._files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not self._files:
            raise InputError(f"{folder}: no picture in it", expected=f"files such as {', '.join(SUFFIXES[:4])}")
        kinds = sorted({p.relative_to(folder).parts[0] for p in self._files if p.parent != folder})
        apart = len(kinds) > 1 and all(p.parent != folder for p in self._files)
        super().__init__(len(self._files), kinds if apart else ())
        self._folder, self._side_px, self._n_colours = folder, side_px, n_colours
        self._tone = tone
        self._good: list[Path] = []
        self._read = lru_cache(max(1, KEPT_BYTES // (side_px * side_px * n_colours)))(self._decoded)

    def batches(self, size: int) -> Iterator[list[Tensor]]:
        self._good, self.names, self.classes, self.skipped = [], [], [], []
        batch: list[Tensor] = []
        for path in self._files:
            try:
                batch.append(self._read(path))
            except SeamwiseError as error:
                self.skipped.append(str(error).splitlines()[0])
                continue
            self._enter(path)
            if len(batch) == size:
                yield [self._toned(batch)]
                batch = []
        if not self._good:
            raise InputError(f"{self._folder}: none of its pictures can be read", given=self.skipped[0])
        if batch:
            yield [self._toned(batch)]

    def _enter(self, path: Path) -> None:
        own = path.relative_to(self._folder)
        self._good.append(path)
        self.names.append(str(own))
        if self.class_names:
            self.classes.append(self.class_names.index(own.parts[0]))

    def inputs(self, items: Sequence[int]) -> list[Tensor]:
        return [self._toned([self._read(self._good[k]) for k in items])]

    def _decoded(self, path: Path) -> UInt8[Tensor, "colours side side"]:
        picture = covering(read_photo(path), self._side_px)
        if self._n_colours == 1:
            picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]
        return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))

    def _toned(self, pictures: Sequence[UInt8[Tensor, "colours side side"]]) -> Float[Tensor, "n colours side side"]:
        return toned(torch.stack(list(pictures)), self._tone)

    def shown(self, pictures: Float[Tensor, "n colours height width"]) -> UInt8[NDArray, "n height width 3"]:
        return untoned(pictures, self._tone)


@final
class Held(Items):
    """Inputs that are in memory: what reaches a stage of a chain, or drawn pictures.

    tone: where the pictures were made even; else they are shown from their least to their largest value.
    scenes: the masks of every concept, where the pictures were drawn by `seamwise.look.world`.
    """

    def __init__(
        self,
        names: Sequence[str],
        tensors: Sequence[Shaped[Tensor, "_ ..."]],
        classes: Sequence[int] = (),
        class_names: Sequence[str] = (),
        tone: Tone | None = None,
        scenes: Scenes | None = None,
    ) -> None:
        super().__init__(len(names), class_names)
        self.names, self.classes = list(names), list(classes)
        self._tensors, self._tone, self.scenes = list(tensors), tone, scenes

    def batches(self, size: int) -> Iterator[list[Tensor]]:
        for start in range(0, self.n, size):
            yield [t[start : start + size] for t in self._tensors]

    def inputs(self, items: Sequence[int]) -> list[Tensor]:
        return [t[list(items)] for t in self._tensors]

    def shown(self, pictures: Float[Tensor, "n colours height width"]) -> UInt8[NDArray, "n height width 3"]:
        if self._tone is not None:
            return untoned(pictures, self._tone)
        low, high = (float(pictures.min()), float(pictures.max())) if pictures.numel() else (0.0, 1.0)
        if low >= 0 and high <= 255:
            low, high = 0.0, 1.0 if high <= 1 else 255.0
        return as_rgb(pictures, low, high)


def drawn(n: int, side_px: int, n_colours: int, tone: Tone, seed: int = SCENES_SEED) -> Held:
    """Scenes of `seamwise.look.world`, of which every concept's mask is known."""
    scenes = draw(n, seed, side_px)
    pictures = torch.from_numpy(scenes.pictures)
    if n_colours == 1:
        pictures = pictures.float().mean(1, keepdim=True).round().byte()
    names = [f"scene {k}, {CLASSES[c]}" for k, c in enumerate(scenes.classes)]
    return Held(names, [toned(pictures, tone)], scenes.classes.tolist(), CLASSES, tone, scenes)


def files_in(given: Sequence[Path]) -> list[Path]:
    """The files among what was given, and all in its folders, whatever they are; hidden ones left out."""
    files = [f for p in given for f in (sorted(q for q in p.rglob("*") if q.is_file()) if p.is_dir() else [p])]
    return [f for f in files if not f.name.startswith(".")]


def toned(pictures: UInt8[Tensor, "n colours height width"], tone: Tone) -> Float[Tensor, "n colours height width"]:
    """Pictures as a network reads them."""
    mean, deviation = (torch.tensor(each).view(-1, 1, 1) for each in tone)
    return (pictures.float() / 255 - mean) / deviation


def untoned(pictures: Float[Tensor, "n colours height width"], tone: Tone) -> UInt8[NDArray, "n height width 3"]:
    """Pictures as a network reads them, for people."""
    mean, deviation = (torch.tensor(each).view(-1, 1, 1) for each in tone)
    return as_rgb(pictures * deviation + mean, 0.0, 1.0)


def covering(picture: UInt8[NDArray, "height width 3"], side_px: int) -> UInt8[NDArray, "side side 3"]:
    """The middle of a picture, scaled so that its shorter side is the side asked for."""
    height, width = picture.shape[:2]
    scale = side_px / min(height, width)
    size = max(side_px, round(width * scale)), max(side_px, round(height * scale))
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (size[1] - side_px) // 2, (size[0] - side_px) // 2
    cut: Any = scaled[top : top + side_px, left : left + side_px]
    return cut  # type: ignore[no-any-return]


def as_rgb(
    pictures: Float[Tensor, "n colours height width"], low: float, high: float
) -> UInt8[NDArray, "n height width 3"]:
    """Values from low to high as 0 to 255; of other than three colours the mean, as grey."""
    if pictures.shape[1] not in (1, 3):
        pictures = pictures.mean(1, keepdim=True)
    scaled = ((pictures.float() - low) / max(high - low, 1e-12)).clamp(0, 1).mul(255).round().byte()
    return scaled.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
