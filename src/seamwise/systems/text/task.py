"""The text task: segment, tag, parse, label roles. The answer is the tree, which says the words as well.

An item is a sentence; the error is 1 - F1 of its labelled dependencies, from raw characters. Roles, where a treebank
has them, are labelled behind the answer, and scored beside it.

Variants: seams that pass distributions (`soft`) or decisions (`hard`); each of the three alone as decisions; and one
encoder of characters, `shared` by all stages in the place of one for each, with decisions about words.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

from seamwise import Chain, Fit, Learned, Supply, Task
from seamwise.systems.text import stages, targets
from seamwise.systems.text.conllu import read_conllu
from seamwise.systems.text.data import divided, stripped, supply
from seamwise.systems.text.drawing import drawer
from seamwise.systems.text.inventory import Inventory, inventory_of
from seamwise.systems.text.oracles import oracles
from seamwise.systems.text.sentence import Sentence
from seamwise.systems.text.world import PARTS, Difficulty, sentences

SMALL = 48  # states a direction of the BiLSTMs that studies train
LONGEST = 64  # characters of a sentence in studies; longer ones are left out
FIT = Fit(
    batch=32,
    rates=(3e-3,),
    min_steps=200,
    max_steps=300,
    patience=100,
    eval_every=100,
    average=0.99,
    alike="characters",
)
SEAMS = ("words", "tags", "heads")
HARD: dict[str, frozenset[str]] = {
    "soft": frozenset(),
    "hard": frozenset(SEAMS),
    **{f"hard_{seam}": frozenset({seam}) for seam in SEAMS},
    "shared": frozenset({"words"}),
}
DIRECT = {"direct": 1, "larger": 2}  # times the states of a stage's encoder


def chain_named(variant: str, inventory: Inventory, length: int, size: int = SMALL) -> Chain:
    """The chain of a variant, or of a direct network. Raises KeyError where there is none of that name.

    length: of the padded characters. size: states a direction of each BiLSTM
    """
    if variant in DIRECT:
        return Chain([direct_named(variant, inventory, size)])
    hard, shared = HARD[variant], variant == "shared"
    made = partial(partial, inventory=inventory, size=size, shared=shared)
    words = partial(made, soft_words="words" not in hard)
    states = ("states",) if shared else ()
    first = [Learned("encode", partial(stages.Encode, inventory, size), "characters", "states")] if shared else []
    segment = Learned("segment", made(stages.Segment), ("characters", *states), targets.words_target())
    tag = Learned(
        "tag",
        words(stages.Tag),
        ("characters", "words", *states),
        targets.tags_target(inventory),
    )
    parse = Learned(
        "parse",
        words(stages.Parse, soft="tags" not in hard),
        ("characters", "tags", *states),
        targets.tree_target(inventory),
    )
    roles = Learned(
        "roles",
        words(stages.Roles, soft="heads" not in hard),
        ("characters", "tags", "tree", *states),
        (targets.predicates_target(), targets.roles_target(inventory, length)),
    )
    return Chain([*first, segment, tag, parse, *([roles] if inventory.roles else [])])


def direct_named(name: str, inventory: Inventory, size: int = SMALL) -> Learned:
    """A direct network, see DIRECT. Raises KeyError."""
    net = partial(stages.Direct, inventory, DIRECT[name] * size)
    return Learned("direct", net, "characters", targets.tree_target(inventory))


def text(
    inventory: Inventory, held: Supply, variants: Sequence[str] = tuple(HARD), *, size: int = SMALL, fit: Fit = FIT
) -> Task:
    """The task on a supply of encoded sentences, with some of the variants."""
    length = held.fields["characters"].shape[1]
    return Task(
        name="text",
        chain={name: chain_named(name, inventory, length, size) for name in variants},
        answer=targets.tree_target(inventory),
        supply=held,
        direct={name: direct_named(name, inventory, size) for name in DIRECT},
        draw=drawer(["", "", *inventory.characters], inventory.tags, inventory.relations),
        fit=fit,
        oracles=oracles(inventory),
    )


def of_parts(parts: Sequence[Sequence[Sentence]], longest: int, *, spaces: bool) -> Task:
    """The task on train, validation and test sentences."""
    inventory = inventory_of(parts[0], [*parts[1], *parts[2]], spaces=spaces)
    return text(inventory, supply(inventory, parts, longest))


def with_data(files: Sequence[Path]) -> Task:
    """The task on treebanks, without their spaces: sentences of at most 64 characters, divided by document.

    Of several, the last is for the test. Raises InputError naming file and line.
    """
    read = [[stripped(s) for s in read_conllu(file)] for file in files]
    if len(read) == 1:
        return of_parts(divided(read[0], (0.8, 0.08, 0.12)), LONGEST, spaces=False)
    learned, checked = divided([s for part in read[:-1] for s in part], (0.9, 0.1))
    return of_parts([learned, checked, read[-1]], LONGEST, spaces=False)


def with_world(
    segmentation: float = Difficulty.segmentation,
    tagging: float = Difficulty.tagging,
    attachment: float = Difficulty.attachment,
    noise: float = Difficulty.noise,
) -> Task:
    """The task on a generated language of another difficulty, see world.Difficulty. Raises TaskError."""
    difficulty = Difficulty(segmentation, tagging, attachment, noise)
    parts = [sentences(n, difficulty, seed) for n, seed in PARTS.values()]
    return of_parts(parts, LONGEST, spaces=False)


@lru_cache
def on_the_world() -> Task:
    """The task on the generated language."""
    return with_world()


def __getattr__(name: str) -> Task:
    """`task`, made when it is asked for: with a treebank the language is not generated."""
    if name == "task":
        return on_the_world()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
