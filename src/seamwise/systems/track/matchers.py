"""The matchers of the chain's own variants: a filter that is kept, and a template."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import final

from safetensors.torch import load_file
from torch.fft import fftshift

from seamwise.errors import ModelError
from seamwise.model import Model, load_model
from seamwise.shapes import Float, Tensor
from seamwise.systems.track.correlation import bump, cross_correlation, support_of, windowed
from seamwise.systems.track.geometry import SIZE_PX
from seamwise.systems.track.hog import hog
from seamwise.systems.track.matcher import Following, Matcher
from seamwise.systems.track.nets import BUMP, EXEMPLAR_PX, STRIDE, SUPPORT, Features, Plain
from seamwise.systems.track.published import load_preset
from seamwise.systems.track.ridge import Ridge
from seamwise.systems.track.world import N_KINDS

WEIGHTS = Path(str(files(__package__).joinpath("weights.safetensors")))

Embed = Callable[[Float[Tensor, "batch 3 px px"]], Float[Tensor, "batch channels n n"]]

WIDER_PX = 4 * SIZE_PX  # a tracker looks a little further than the pairs do that it was taught with
PENALTY = 0.01  # on the filter's weights, see `ridge`
KEPT = Following(px=WIDER_PX, area=WIDER_PX / SIZE_PX, exemplar_px=WIDER_PX, rate=0.03, every=2)
FIRST_STEPS, STEPS = 20, 3  # of conjugate gradients


@final
class Kept:
    """A correlation filter about the object alone, learnt from all frames; see `ridge`."""

    cell_px = float(STRIDE)

    def __init__(self, embed: Embed, following: Following = KEPT, penalty: float = PENALTY) -> None:
        self.following, self._embed, self._penalty = following, embed, penalty
        self._n = WIDER_PX // STRIDE
        self._window = windowed(self._n)

    def embed(self, pictures: Float[Tensor, "batch 3 px px"]) -> Float[Tensor, "batch channels n n"]:
        seen: Tensor = self._embed(pictures) * self._window
        return seen

    def start(self, z: Float[Tensor, "channels n n"], extent: tuple[float, float]) -> None:
        support = support_of(self._n, *(SUPPORT * side / STRIDE for side in extent))
        sigma = BUMP * (extent[0] * extent[1]) ** 0.5 / STRIDE
        wanted = bump(self._n, self._n, sigma)
        self._ridge = Ridge(wanted, support, self._penalty)
        self._ridge.learn(z, 1.0, FIRST_STEPS)

    def update(self, z: Float[Tensor, "channels n n"]) -> None:
        self._ridge.learn(z, self.following.rate, STEPS)

    def respond(self, x: Float[Tensor, "scales channels n n"]) -> Float[Tensor, "scales n n"]:
        answers: Tensor = fftshift(self._ridge.respond(x), dim=(-2, -1))
        return answers


@final
class Template:
    """The first frame's features at every place: SiamFC's way, nothing is learnt later."""

    cell_px = float(STRIDE)
    following = Following(px=WIDER_PX, area=WIDER_PX / SIZE_PX, exemplar_px=EXEMPLAR_PX, window=0.2, upsample=4)

    def __init__(self, embed: Embed, correlate: Plain) -> None:
        self.embed, self._correlate = embed, correlate

    def start(self, z: Float[Tensor, "channels n n"], extent: tuple[float, float]) -> None:
        self._template = self._correlate.template(z[None])
        self._height = float(self._template.square().sum())

    def update(self, z: Float[Tensor, "channels n n"]) -> None:
        pass

    def respond(self, x: Float[Tensor, "scales channels n n"]) -> Float[Tensor, "scales m m"]:
        answers: Tensor = cross_correlation(self._template.repeat_interleave(len(x), 0), x)
        return answers / self._height


def new_matcher(model: Matcher | Model | Path | str | None) -> Matcher:
    """What a tracker with this model tracks with; by default that of the shipped weights. Raises ModelError."""
    if model is None:
        return Kept(_shipped().embed, kept())
    if isinstance(model, Model):
        return _of_model(model)
    if not isinstance(model, Path | str):
        return model
    path = Path(model)
    return load_preset(path) if path.is_file() else _of_model(load_model(path, "track"))


def _of_model(model: Model) -> Matcher:
    """The matcher of a trained chain of the task. Raises ModelError for one without a correlation."""
    nets = dict(model.net.nets.items())
    if "correlate" not in nets:
        raise ModelError(
            f"the variant {model.record.variant!r} has no correlation to track with",
            expected="a model of one of the chain's variants, not of the direct network",
        )
    features, correlate = nets["features"], nets["correlate"]
    embed = features.embed if isinstance(features, Features) else hog
    return Template(embed, correlate) if isinstance(correlate, Plain) else Kept(embed, kept())


def kept() -> Following:
    """How a filter that is kept is followed, with what the shipped weights know of how sure it can be."""
    bias, above, share = _weights()["certainty"].tolist()
    return replace(KEPT, certainty=(bias, above, share))


@lru_cache
def _shipped() -> Features:
    features = Features(N_KINDS, designed=True)
    start = "features."
    features.load_state_dict({k.removeprefix(start): t.float() for k, t in _weights().items() if k.startswith(start)})
    return features.eval()


@lru_cache
def _weights() -> dict[str, Tensor]:
    return load_file(str(WEIGHTS))
