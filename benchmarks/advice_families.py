"""Six families of tiny simulated tasks, each with a structure of its own; `advice_tasks.py` makes tasks of them.

lookup:    two or three symbols are read, and a table of their pairs gives the answer
measure:   several numbers are measured; a formula and what depends on it give a number
place:     one of several positions is marked; what lies there is the answer
count:     positions are tagged, tags are counted, and the bill is a number
automaton: a hidden state goes from step to step, each step by a table of its own
compare:   objects are measured and compared in pairs; their order is the answer

A family is a function of a random generator and of what all families share (Common); it returns a World.
"""

from collections.abc import Callable
from functools import partial
from itertools import permutations

import numpy as np
import torch
from advice_parts import (
    CONTEXT_WIDTH,
    Arrays,
    Common,
    World,
    as_rows,
    drawn_table,
    duels,
    ending,
    formula,
    gather,
    hardened,
    look_up_parts,
    mistaken,
    net,
    prototypes,
    scaled,
    shown,
    tally,
)
from numpy.random import Generator

from seamwise import Designed, categories, numbers
from seamwise.stage import Stage


def lookup(rng: Generator, c: Common) -> World:
    """read [parts] -> join -> combine -> answer; where a table combines, it may be wrong. Short: the table answers."""
    parts, n, width, modes = (int(rng.integers(low, high)) for low, high in ((2, 4), (3, 5), (3, 6), (1, 4)))
    n_joint, n_answers = int(rng.integers(4, 8)), int(rng.integers(3, 5))
    designed, field = c.short or (not c.hard and rng.random() < 0.35), "answer" if c.short else "joint"
    n_joint = n_answers if c.short else n_joint
    symbol, answer = categories("symbol", n), categories("answer", n_answers)
    looks, table = prototypes(rng, n, width, modes), drawn_table(rng, (n,) * parts, n_joint)
    end = ending(rng, c, "joint", n_joint, answer, n_answers)
    stages: list[Stage] = [net(c, "read", ("x",), width, symbol, parts=parts)]
    if designed:
        rule = as_rows(mistaken(rng, table, n_joint, c.wrong), n_joint)
        stages.append(Designed("combine", partial(look_up_parts, rule), "symbol", field))
    else:
        stages.append(Designed("join", partial(hardened, c.hard), "symbol", "joined"))
        stages.append(net(c, "combine", ("joined",), parts * n, categories(field, n_joint)))

    def sample(rng: Generator, m: int) -> Arrays:
        symbols = rng.integers(0, n, (m, parts))
        label = table[tuple(symbols.T)]
        x = shown(rng, looks, symbols, c.noise).reshape(m, -1)
        return {"x": x, "symbol": symbols, field: label} | ({} if c.short else end.finish(rng, label))

    told = {"parts": parts, "classes": n, "looks": modes, "hard": c.hard and not designed}
    stages, widths = (stages, {}) if c.short else ([*stages, end.stage], end.widths)
    return World(tuple(stages), answer, {"x": parts * width, **widths}, sample, told)


def measure(rng: Generator, c: Common) -> World:
    """gauge [numbers] -> formula -> relate -> answer, a number; something unnamed may count too. Short: no relate."""
    n, width, slope = int(rng.integers(2, 4)), int(rng.integers(6, 15)), float(rng.uniform(0.7, 1.3))
    kind = str(rng.choice(["product", "norm", "difference"]))
    bent, left_out = rng.uniform(0.5, 2.0), float(rng.choice([0.0, 0.0, 0.5]))
    mix, spread = rng.normal(size=(n + 1, 8)) * rng.uniform(0.5, 1.1), rng.normal(size=(8, width)) / np.sqrt(8) * 1.6
    direction = rng.normal(size=CONTEXT_WIDTH) / np.sqrt(CONTEXT_WIDTH)
    guess = slope * float(1 + 3 * c.wrong * rng.choice([-1, 1]))
    index, answer, ruled = numbers("index"), numbers("answer"), c.last == "rule"
    stages: list[Stage] = [
        net(c, "gauge", ("x", *c.hint), width + c.hint_width, numbers("part"), n_out=n),
        Designed("formula", partial(formula, kind, guess, c.hard), "part", "value"),
    ]
    if not c.short:
        stages.append(net(c, "relate", ("value", "y"), 1 + CONTEXT_WIDTH, index))
    if ruled and not c.short:
        stages.append(Designed("scale", partial(scaled, 2.0), "index", "answer"))
    else:
        stages.append(net(c, "conclude", ("value" if c.short else "index", "y"), 1 + CONTEXT_WIDTH, answer))

    def sample(rng: Generator, m: int) -> Arrays:
        hidden, y = rng.normal(0, 1, (m, n + 1)), rng.normal(size=(m, CONTEXT_WIDTH))
        x = np.tanh(hidden @ mix) @ spread + rng.normal(0, 0.45 * c.noise, (m, width))
        value = formula(kind, slope, False, torch.from_numpy(hidden[:, :n])).numpy()
        told = np.tanh(bent * value) * 2 + np.maximum(0, y @ direction) + rng.normal(0, 0.3 * c.context_noise, m)
        result = told if ruled else np.abs(told - 0.5) + 0.5 * y[:, 0] * (told > 1)
        result = 2 * (result + left_out * np.tanh(hidden[:, n]))
        return {"x": x, "y": y, "part": hidden[:, :n], "index": told, "answer": result}

    widths = {"x": width, "y": CONTEXT_WIDTH}
    return World(tuple(stages), answer, widths, sample, {"parts": n, "formula": kind, "left_out": left_out})


def place(rng: Generator, c: Common) -> World:
    """find (one of the parts) -> gather -> read -> answer; other parts may hold the same. Short: read answers."""
    parts, width, n = int(rng.integers(3, 7)), 3, int(rng.integers(3, 6))
    n_answers, same = n if c.short else int(rng.integers(2, 5)), float(rng.choice([0.0, 0.0, 0.3, 0.6]))
    looks, loud = prototypes(rng, n, width, int(rng.integers(1, 3))), rng.uniform(1.5, 3.0)
    answer, field = categories("answer", n_answers), "answer" if c.short else "content"
    end = ending(rng, c, "content", n, answer, n_answers)
    stages: list[Stage] = [
        net(c, "find", ("x", *c.hint), parts * (width + 1) + c.hint_width, categories("place", parts)),
        Designed("gather", partial(gather, c.hard, parts), ("x", "place"), "patch"),
        net(c, "read", ("patch",), width + 1, categories(field, n)),
    ]

    def sample(rng: Generator, m: int) -> Arrays:
        at, inside = rng.integers(0, parts, m), rng.integers(0, n, (m, parts))
        label = inside[np.arange(m), at]
        inside = np.where(rng.random((m, parts)) < same, label[:, None], inside)
        mark = rng.normal(0, c.noise, (m, parts)) + loud * (np.arange(parts) == at[:, None])
        x = np.concatenate([shown(rng, looks, inside, c.noise), mark[..., None]], -1).reshape(m, -1)
        return {"x": x, "place": at, field: label} | ({} if c.short else end.finish(rng, label))

    stages, widths = (stages, {}) if c.short else ([*stages, end.stage], end.widths)
    told = {"parts": parts, "classes": n, "same": same}
    return World(tuple(stages), answer, {"x": parts * (width + 1), **widths}, sample, told)


def count(rng: Generator, c: Common) -> World:
    """tag [parts] -> tally -> add -> answer, a number: what tags cost together, some in sets. Short: no add."""
    parts, width, n, modes = (int(rng.integers(low, high)) for low, high in ((4, 7), (2, 4), (2, 5), (1, 3)))
    looks, costs, pair = prototypes(rng, n, width, modes), rng.uniform(-1, 2, n), rng.uniform(0.5, 2)
    direction, off = rng.normal(size=CONTEXT_WIDTH), float(1 + c.wrong * rng.choice([-1, 1]))
    bill, answer, ruled = numbers("bill"), numbers("answer"), c.last == "rule" and not c.short
    stages: list[Stage] = [
        net(c, "tag", ("x",), width, categories("tag", n), parts=parts),
        Designed("tally", partial(tally, c.hard), "tag", "counts"),
    ]
    if not c.short:
        stages.append(net(c, "add", ("counts",), n, bill))
    if ruled:
        stages.append(Designed("tax", partial(scaled, 1.2 * off), "bill", "answer"))
    else:
        stages.append(net(c, "conclude", ("counts" if c.short else "bill", "y"), (n if c.short else 1) + 3, answer))

    def sample(rng: Generator, m: int) -> Arrays:
        tags, y = rng.integers(0, n, (m, parts)), rng.normal(size=(m, CONTEXT_WIDTH))
        counts = (tags[..., None] == np.arange(n)).sum(1)
        owed = counts @ costs + pair * np.minimum(counts[:, 0], counts[:, 1])
        discount = 1 / (1 + np.exp(-2 * (y @ direction)))
        result = 1.2 * owed if ruled else owed * (1 - 0.6 * discount)
        x = shown(rng, looks, tags, c.noise).reshape(m, -1)
        return {"x": x, "tag": tags, "bill": owed, "answer": result} | ({} if ruled else {"y": y})

    widths = {"x": parts * width} | ({} if ruled else {"y": CONTEXT_WIDTH})
    return World(tuple(stages), answer, widths, sample, {"parts": parts, "classes": n, "looks": modes})


def automaton(rng: Generator, c: Common) -> World:
    """step 1 -> step 2 -> ... -> answer: each reads the state before and an input. Short: the last is the answer."""
    steps, n, n_symbols, width = int(rng.integers(2, 4)), int(rng.integers(3, 5)), int(rng.integers(2, 4)), 3
    looks = prototypes(rng, n_symbols, width, int(rng.integers(1, 4)))
    turns = (np.arange(n)[:, None] + np.arange(n_symbols)) % n  # no two symbols do the same
    tables = [rng.permutation(n)[turns] for _ in range(steps)]
    n_answers = n if c.short or c.last == "rule" else int(rng.integers(2, 5))
    answer, states = categories("answer", n_answers), [f"state{k}" for k in range(1, steps + 1)]
    end = ending(rng, c, states[-1], n, answer, n_answers)
    states[-1] = "answer" if c.short else states[-1]
    stages: list[Stage] = [net(c, "step1", ("x1", *c.hint), width + c.hint_width, categories(states[0], n))]
    for k in range(1, steps):
        before = states[k - 1]
        if c.hard and k == 1:
            stages.append(Designed("decide", partial(hardened, True), before, "decided"))
            before = "decided"
        stages.append(net(c, f"step{k + 1}", (before, f"x{k + 1}"), n + width, categories(states[k], n)))

    def sample(rng: Generator, m: int) -> Arrays:
        state = np.zeros(m, dtype=np.int64)
        rows: Arrays = {}
        for k, (table, field) in enumerate(zip(tables, states, strict=True), 1):
            symbols = rng.integers(0, n_symbols, m)
            state = table[state, symbols]
            rows |= {f"x{k}": shown(rng, looks, symbols, 1.3 * c.noise), field: state}
        return rows if c.short else rows | end.finish(rng, state)

    stages, widths = (stages, {}) if c.short else ([*stages, end.stage], end.widths)
    inputs = {f"x{k}": width for k in range(1, steps + 1)} | dict(widths)
    return World(tuple(stages), answer, inputs, sample, {"steps": steps, "states": n, "symbols": n_symbols})


def compare(rng: Generator, c: Common) -> World:
    """weigh [objects] -> duels -> sort -> answer, by the order of three or the largest of four. Short: no sort."""
    n, width, n_answers = int(rng.integers(3, 5)), int(rng.integers(3, 5)), int(rng.integers(2, 5))
    orders, n_pairs = list(permutations(range(3))) if n == 3 else [(k,) for k in range(4)], n * (n - 1) // 2
    mix, spread = rng.normal(size=(2, 6)) * 1.2, rng.normal(size=(6, width)) / np.sqrt(6) * 1.6
    bias, sharpness = torch.from_numpy(rng.normal(0, 3 * c.wrong, n).astype(np.float32)), float(rng.uniform(2, 8))
    order, answer = categories("order", len(orders)), categories("answer", n_answers)
    end = ending(rng, c, "order", len(orders), answer, n_answers)
    short_table = drawn_table(rng, (len(orders),), n_answers)
    stages: list[Stage] = [
        net(c, "weigh", ("x",), width, numbers("size"), parts=n),
        Designed("duels", partial(duels, c.hard, sharpness, bias), "size", "ahead"),
        net(c, "sort", ("ahead",), n_pairs, answer if c.short else order),
    ]

    def sample(rng: Generator, m: int) -> Arrays:
        hidden = rng.normal(size=(m, n, 2))
        x = np.tanh(hidden @ mix) @ spread + rng.normal(0, 0.6 * c.noise, (m, n, width))
        ranks = (-hidden[..., 0]).argsort(1)[:, : len(orders[0])]
        label = np.array([orders.index(tuple(r)) for r in ranks.tolist()], dtype=np.int64)
        rows = {"x": x.reshape(m, -1), "size": hidden[..., 0], "order": label}
        return rows | ({"answer": short_table[label]} if c.short else end.finish(rng, label))

    stages, widths = (stages, {}) if c.short else ([*stages, end.stage], end.widths)
    told = {"objects": n, "orders": len(orders)}
    return World(tuple(stages), answer, {"x": n * width, **widths}, sample, told)


FAMILIES: dict[str, Callable[[Generator, Common], World]] = {
    "lookup": lookup,
    "measure": measure,
    "place": place,
    "count": count,
    "automaton": automaton,
    "compare": compare,
}
