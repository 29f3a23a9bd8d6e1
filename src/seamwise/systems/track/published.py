"""A published tracker at work: its network, what it follows an object with, and its weights' file."""

from pathlib import Path
from typing import Final, final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from scipy.fft import next_fast_len
from torch import nn
from torch.fft import fftshift
from torch.nn.functional import softplus

from seamwise.errors import InputError
from seamwise.shapes import Bool, Float, Tensor
from seamwise.systems.track.correlation import bump, filter_of, from_spectrum, spectrum
from seamwise.systems.track.presets import PRESETS, Preset
from seamwise.trial import write_whole
from seamwise.version import VERSION

Template = tuple[Tensor, ...]

KIND: Final = "seamwise published tracker"
MARGIN = 16  # cells that CFNet cuts off its filter, on each side
NEAR = 2.0  # cells from the middle that are still the object: 16 px for SiamFC, 8 px for CFNet
MEAN_RGB = (123.0, 117.0, 104.0)  # DCFNet takes it off


@final
class Network(nn.Module):
    """A preset's network: features of pictures, what is learnt of an object, and where another picture shows it."""

    wanted: Tensor
    window: Tensor
    mean: Tensor

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.see = preset.backbone()
        for layer in self.see:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        filtered, n = preset.join != "plain", self._side(preset.following.exemplar_px)
        edge = torch.hann_window(n, periodic=False)
        self.register_buffer("window", edge[:, None] * edge if filtered else None, persistent=False)
        self.register_buffer("wanted", bump(n, n, preset.sigma) if filtered else None, persistent=False)
        mean = torch.tensor(MEAN_RGB if preset.join == "round filter" else (0.0,) * 3)
        self.register_buffer("mean", mean[:, None, None], persistent=False)
        # of scores, where they are trained as log-odds; SiamFC's gain is not learnt
        self.gain = nn.Parameter(torch.tensor(1.0 if filtered else 1e-3), preset.join == "cut filter")
        self.bias = nn.Parameter(torch.tensor(-0.5 if filtered else 0.0), preset.join != "round filter")

    def embed(self, pictures: Float[Tensor, "batch 3 px px"]) -> Float[Tensor, "batch channels n n"]:
        """Features of pictures with values of 0 to 255."""
        seen: Tensor = self.see(pictures - self.mean)
        return seen

    def learn(self, z: Float[Tensor, "batch channels n n"]) -> Template:
        """What is kept of an object, from the features of its crop; parts that a running mean may be taken of.

        Its features (SiamFC); a filter (CFNet); a filter's spectrum in the dual, and that of the features (DCFNet).
        """
        join = self.preset.join
        if join == "plain":
            return (z,)
        seen, n_places = z * self.window, z.shape[-1] * z.shape[-2]
        if join == "cut filter":
            filtered = filter_of(seen, self.wanted, self.preset.penalty * n_places)
            return (filtered[..., MARGIN:-MARGIN, MARGIN:-MARGIN],)
        found = spectrum(seen)
        power = found.abs().square().sum(1) + self.preset.penalty * z.shape[1]
        return spectrum(self.wanted) / power, found

    def answer(self, template: Template, x: Float[Tensor, "batch channels n n"]) -> Float[Tensor, "batch m m"]:
        """How the object answers at each shift, none in the middle; one template for all pictures, or one for each."""
        if self.preset.join == "round filter":
            dual, z = template
            agree = (z.conj() * spectrum(x * self.window)).sum(1)
            round_: Tensor = fftshift(from_spectrum(dual * agree, x.shape[-1]), dim=(-2, -1))
            return round_
        return slid(template[0], x)

    def loss(self, exemplar: Float[Tensor, "batch 3 small small"], search: Float[Tensor, "batch 3 px px"]) -> Tensor:
        """What is trained, the mean over pairs that each show the object in their middles.

        SiamFC and CFNet: logistic, the object's places weighing as much as all others. DCFNet: squares of the distance
        from a Gaussian, their sum.
        """
        answers = self.answer(self.learn(self.embed(exemplar)), self.embed(search))
        if self.preset.join == "round filter":
            missed: Tensor = (answers - fftshift(self.wanted)).square().sum((1, 2)).mean()
            return missed
        here = middle(answers.shape[-1]).to(answers.device)
        odds = self.gain * answers + self.bias
        balanced: Tensor = (softplus(-odds[:, here]).mean() + softplus(odds[:, ~here]).mean()) / 2
        return balanced

    @torch.no_grad()
    def _side(self, px: int) -> int:
        """Of the features, in cells."""
        side = self.see.eval()(torch.zeros(1, 3, px, px)).shape[-1]
        self.see.train()
        return int(side)


def slid(z: Float[Tensor, "#batch channels k k"], x: Float[Tensor, "batch channels n n"]) -> Float[Tensor, "batch m m"]:
    """What `cross_correlation` gives, m = n - k + 1, through spectra: many times faster for templates this large."""
    side, fits = next_fast_len(x.shape[-1], real=True), x.shape[-1] - z.shape[-1] + 1
    seen, known = torch.fft.rfft2(x, s=(side, side)), torch.fft.rfft2(z, s=(side, side))
    answers: Tensor = torch.fft.irfft2((known.conj() * seen).sum(1), s=(side, side))
    return answers[..., :fits, :fits]


def middle(n: int) -> Bool[Tensor, "n n"]:
    """The cells of answers, n odd, where the object in the middle still is."""
    away = torch.arange(n) - n // 2
    return (away[:, None].square() + away.square()).float().sqrt() <= NEAR


@final
class PresetMatcher:
    """A `Matcher` that learns, answers and is updated as the preset's paper has it."""

    def __init__(self, network: Network) -> None:
        self.network = network.eval()
        self.following, self.cell_px = network.preset.following, float(network.preset.cell_px)
        self._template: Template = ()
        self._own = 1.0

    @torch.inference_mode()
    def embed(self, pictures: Float[Tensor, "batch 3 px px"]) -> Float[Tensor, "batch channels n n"]:
        """Features of crops with values of 0 to 255."""
        return self.network.embed(pictures)

    @torch.inference_mode()
    def start(self, z: Float[Tensor, "channels n n"], extent: tuple[float, float]) -> None:
        """Learn an object; how large its box is makes no difference."""
        self._template = self.network.learn(z[None])
        self._own = max(float(z.square().sum()), 1e-12) if self.network.preset.join == "plain" else 1.0

    @torch.inference_mode()
    def update(self, z: Float[Tensor, "channels n n"]) -> None:
        """Move the template towards how the object looks now."""
        rate, now = self.following.rate, self.network.learn(z[None])
        self._template = tuple((1 - rate) * a + rate * b for a, b in zip(self._template, now, strict=True))

    @torch.inference_mode()
    def respond(self, x: Float[Tensor, "scales channels n n"]) -> Float[Tensor, "scales m m"]:
        """The answer at each shift, none in the middle; SiamFC's as a share of what the exemplar answers to itself."""
        return self.network.answer(self._template, x) / self._own


def save_preset(path: Path, network: Network, notes: dict[str, str]) -> None:
    """Write a safetensors file, whole, with the preset's name and notes. Raises StorageError."""
    told = {"kind": KIND, "seamwise": VERSION, "preset": network.preset.name, **notes}
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_whole(path, save(tensors, told))


def is_preset(path: Path) -> bool:
    """Whether a file says that it holds a preset's weights."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("kind") == KIND
    except (SafetensorError, OSError):
        return False


def load_preset(path: Path) -> PresetMatcher:
    """What `recipe` trained, to track with. Raises InputError where the file is not there, or is something else."""
    expected, remedy = "weights of a published tracker", "train them: python -m seamwise.systems.track.recipe --help"
    if not path.is_file():
        raise InputError(f"{path}: no such file", expected=expected, remedy=remedy)
    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        remedy = "copy the file again from where it came from"
        raise InputError(f"{path}: cannot be read", given=str(error), expected="safetensors", remedy=remedy) from None
    preset = PRESETS.get(notes.get("preset", ""))
    if notes.get("kind") != KIND or preset is None:
        given = f"{notes.get('kind', 'no kind')}, preset {notes.get('preset', 'none')}"
        expected = f"{KIND}, one of {', '.join(PRESETS)}"
        raise InputError(f"{path}: other weights", given=given, expected=expected, remedy=remedy)
    network = Network(preset)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"{path}: weights are missing or misshapen", given=str(error), expected=expected) from None
    return PresetMatcher(network)
