"""A parser made from a treebank: the chain by any regime, and the splitter of sentences before it."""

import math
import time
from dataclasses import replace
from pathlib import Path

from seamwise import Fit
from seamwise.errors import SupplyError, TaskError
from seamwise.fit import Watch
from seamwise.model import train
from seamwise.systems.text.conllu import read_conllu
from seamwise.systems.text.data import divided, fits, stripped, supply
from seamwise.systems.text.inventory import inventory_of
from seamwise.systems.text.parser import Parser
from seamwise.systems.text.sentence import Sentence
from seamwise.systems.text.splitting import splitting
from seamwise.systems.text.task import DIRECT, HARD, text
from seamwise.trial import REGIMES

FEWEST = 3  # sentences of a treebank, one for each part
SIZE = 192  # states a direction of each BiLSTM
LONGEST = 200  # characters of a sentence that is learned from
N_CHECKED = 400  # sentences that training is stopped by, at most; a fifth as many are only scored
FIT = Fit(
    batch=32,
    rates=(3e-3,),
    patience=1000,
    eval_every=250,
    warmup=200,
    average=0.998,
    start_small=0,
    alike="characters",
)


def train_parser(
    treebank: Path,
    dev: Path | None = None,
    *,
    regime: str = "joint",
    variant: str | None = None,
    passes: int,
    strip_spaces: bool = False,
    seed: int = 0,
    watch: Watch | None = None,
) -> Parser:
    """Train a parser on a treebank, with roles where it has some.

    dev:    nine tenths of it choose the best weights; without it, a twentieth of the treebank
    passes: over the treebank, at most; training stops before once the validation score no longer improves
    Raises InputError naming file and line, TaskError.
    """
    start = time.perf_counter()
    names = DIRECT if regime == "direct" else HARD
    chosen = variant or ("direct" if regime == "direct" else "shared")
    if regime not in REGIMES:
        raise TaskError(f"no regime {regime!r}", expected=f"one of {', '.join(REGIMES)}")
    if chosen not in names:
        raise TaskError(f"no variant {chosen!r} for {regime}", expected=f"one of {', '.join(names)}")
    parts, left_out = _parts(treebank, dev, strip_spaces=strip_spaces)
    inventory = inventory_of(parts[0], [*parts[1], *parts[2]], spaces=not strip_spaces)
    held = supply(inventory, parts, LONGEST)
    n_steps = math.ceil(passes * len(held.rows("train")) / FIT.batch)
    fit = replace(FIT, max_steps=n_steps, min_steps=min(n_steps, 2000))
    task = text(inventory, held, [chosen if chosen in HARD else "shared"], size=SIZE, fit=fit)
    model = train(task, regime, variant=chosen, seed=seed, watch=watch)
    splitter = train(splitting(inventory, parts), "independent", seed=seed, watch=watch)
    about = {
        "regime": model.record.regime,
        "seed": seed,
        "sentences": dict(zip(("learned", "chosen by", "scored"), map(len, parts), strict=True)),
        "left_out": left_out,
        "validation_error": model.record.validation_error,
        "stopped": model.record.stopped,
        "seconds": time.perf_counter() - start,
        "notes": list(model.record.notes),
    }
    return Parser(inventory, model.net, splitter.net.nets["split"], chosen, SIZE, about)


def _parts(treebank: Path, dev: Path | None, *, strip_spaces: bool) -> tuple[list[list[Sentence]], int]:
    """(sentences to learn from, to choose by, and a few that are only scored; how many do not fit)."""
    read = [read_conllu(path) for path in ([treebank] if dev is None else [treebank, dev])]
    if strip_spaces:
        read = [[stripped(s) for s in sentences] for sentences in read]
    for path, sentences in zip([treebank, dev], read, strict=False):
        n = sum(fits(s, LONGEST) for s in sentences)
        if n < FEWEST:
            expected = f"{FEWEST} or more with UPOS and HEAD, of at most {LONGEST} characters"
            raise SupplyError(f"{path}: {n or 'no'} sentences to learn from", expected=expected)
    learned = [[s for s in sentences if fits(s, LONGEST)] for sentences in read]
    left_out = sum(map(len, read)) - sum(map(len, learned))
    if dev is not None:
        return [learned[0], *divided(learned[1], (0.9, 0.1))], left_out
    share = min(1 / 20, N_CHECKED / len(learned[0]))
    return divided(learned[0], (1 - 1.2 * share, share, 0.2 * share)), left_out
