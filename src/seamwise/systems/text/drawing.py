"""Sentences drawn: the words, tags and dependencies that were found above the text, and below it what was missed."""

from collections.abc import Callable, Sequence

import numpy as np

from seamwise.shapes import Float, Int, NDArray, UInt8
from seamwise.systems.text.page import Analysis, Span, picture
from seamwise.systems.text.spanning import heads
from seamwise.task import Item

NOT_KNOWN = "□"

Classes = Int[NDArray, " words"]


def drawer(
    characters: Sequence[str], tags: Sequence[str], relations: Sequence[str]
) -> Callable[[Item, Item], UInt8[NDArray, "height width 3"]]:
    """`draw(item, written)` of a task with these characters (by id) and names of tags and relations (by class - 1).

    Above the text what was found: words as blocks, tags, arcs from head to dependent. What is wrong there is red: a
    block that is no word, a tag, an arc or the relation on it. Below, green, what should have been found and was not:
    words as lines, tags, dashed arcs. Whatever is not labelled counts as right.
    """

    def draw(item: Item, written: Item) -> UInt8[NDArray, "height width 3"]:
        ids = item["characters"][:, 0]
        text = [characters[k] if k < len(characters) and characters[k].strip() else NOT_KNOWN for k in ids[ids > 0]]
        if not text:
            return picture(text, Analysis((), {}, {}))
        found = _found(written, len(text), tags, relations)
        return picture(text, found, _gold(item, len(text), tags, relations))

    return draw


def _found(written: Item, n: int, tags: Sequence[str], relations: Sequence[str]) -> Analysis:
    """The most probable words, by the first field that has them; of each, tag and relation; and the best tree."""
    n_relations = 1 + len(relations)
    spread = {field: written[field][:n] for field in ("words", "tags") if field in written}
    spread |= {"relations": written["tree"][:n, :n_relations]} if "tree" in written else {}
    words = _spans(next((each.argmax(-1) for each in spread.values()), np.ones(n, dtype=np.int64)))
    at = np.array([start for start, _ in words], dtype=np.int64)
    best = {field: 1 + each[at, 1:].argmax(-1) for field, each in spread.items() if each.shape[-1] > 1}
    head = _best_heads(written["tree"][:n, n_relations:], at) if "tree" in written else None
    return _analysis(words, best.get("tags"), best.get("relations"), head, tags, relations)


def _best_heads(spread: Float[NDArray, "n places"], at: Int[NDArray, " words"]) -> Int[NDArray, " words"]:
    """Of each word its head's position, 0 for the root."""
    with np.errstate(divide="ignore"):
        return heads(np.log(spread[at][:, [0, *(at + 1)]].astype(np.float64)))


def _gold(item: Item, n: int, tags: Sequence[str], relations: Sequence[str]) -> Analysis | None:
    """What the labels say; None without any."""
    known = {field: item[field][:n] for field in ("words", "tags", "tree") if field in item}
    known = {field: labels for field, labels in known.items() if (labels >= 0).all()}
    if not known:
        return None
    classes = {field: labels[:, 1] if field == "tree" else labels for field, labels in known.items()}
    words = _spans(next(iter(classes.values())))
    at = np.array([start for start, _ in words], dtype=np.int64)
    own = {field: labels[at] for field, labels in classes.items()}
    head = np.searchsorted(at, known["tree"][at, 0] - 1, "right") if "tree" in known else None
    return _analysis(words, own.get("tags"), own.get("tree"), head, tags, relations)


def _spans(classes: Int[NDArray, " n"]) -> tuple[Span, ...]:
    """Words begin where the class is not 0, and at the first character."""
    starts = sorted({0, *np.flatnonzero(classes).tolist()}) if len(classes) else []
    return tuple(zip(starts, [*starts[1:], len(classes)], strict=True))


def _analysis(
    words: tuple[Span, ...],
    tag: Classes | None,
    relation: Classes | None,
    head: Classes | None,
    tags: Sequence[str],
    relations: Sequence[str],
) -> Analysis:
    """With names in the place of classes, and spans in the place of positions."""
    named = {} if tag is None else {span: tags[k - 1] for span, k in zip(words, tag, strict=True)}
    if head is None or relation is None:
        return Analysis(words, named, {})
    above = [words[k - 1] if k else None for k in head]
    edges = {span: (up, relations[k - 1]) for span, up, k in zip(words, above, relation, strict=True)}
    return Analysis(words, named, edges)
