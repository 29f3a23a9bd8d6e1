"""Supply: the labelled examples at hand, from one table or several.

A table maps column names to equally long arrays. Three column names are reserved: `id` (rows of different
tables with one id are one example), `group` (person, writer, document: never in two splits; two dimensions
where an example belongs to several), and `split` ("train", "validation" or "test").
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from seamwise.errors import SupplyError
from seamwise.shapes import Bool, Int, NDArray, Tensor
from seamwise.trial import storage_error, write_json

SPLITS = ("train", "validation", "test")
RESERVED = ("id", "group", "split")

Column = Any
"""A numpy array (masked where a label is missing), a torch tensor, or a list of numbers."""

Subset = Mapping[str, NDArray]
"""Which training examples a training may use the labels of: {field: examples}, each in a fixed order."""


@final
class Supply:
    """Examples, which of their fields are known, how they are grouped and split, and what a label costs.

    tables: {"name": {"field": column, ...}, ...}. A field may be absent from some tables, or masked in some
    rows (numpy.ma); it is then missing for those examples. Integers are kept as such (categories), other
    numbers become float32.
    prices: {field: price of one label}, in any currency; 1 where not given.
    Where no table has `split`, groups are divided .6, .2, .2 at random, always the same way; where none has
    `group`, every example is its own.

    Raises SupplyError, naming table, field and row.
    """

    fields: dict[str, Tensor]
    present: dict[str, Tensor]
    groups: Int[NDArray, "n k"]
    splits: Int[NDArray, " n"]
    prices: dict[str, float]

    def __init__(
        self, tables: Mapping[str, Mapping[str, Column]], *, prices: Mapping[str, float] | None = None
    ) -> None:
        read = {name: _read_table(name, table) for name, table in tables.items()}
        if not read:
            raise SupplyError("the supply has no tables", expected='{"name": {"field": array, ...}}')
        examples = _examples(read)
        n = 1 + max(int(rows.max(initial=-1)) for rows in examples.values())
        self.fields, self.present = {}, {}
        for name, table in read.items():
            for field, (values, known) in table.items():
                if field not in RESERVED:
                    where = f"field {field!r} of table {name!r}"
                    if len(read) == 1:
                        self.fields[field], self.present[field] = values, known
                    else:
                        self._take(where, field, values, known, examples[name], n)
        self.groups = _groups(read, examples, n)
        self.splits = _splits(read, examples, self.groups)
        self.prices = self._priced(prices or {})
        self._check_groups()

    def _take(
        self, where: str, field: str, values: Tensor, known: Tensor, rows: Int[NDArray, " m"], n: int
    ) -> None:
        """Lay one table's column over the examples."""
        if field not in self.fields:
            self.fields[field] = torch.zeros(n, *values.shape[1:], dtype=values.dtype)
            self.present[field] = torch.zeros(n, dtype=torch.bool)
        stored, there = self.fields[field], self.present[field]
        if (stored.shape[1:], stored.dtype) != (values.shape[1:], values.dtype):
            raise SupplyError(
                f"{where} differs from the same field of another table",
                given=f"{values.dtype} {tuple(values.shape[1:])} an example",
                expected=f"{stored.dtype} {tuple(stored.shape[1:])}",
            )
        to = torch.from_numpy(rows)[known]
        again = there[to] & (stored[to] != values[known]).reshape(len(to), -1).any(1)
        if again.any():
            raise SupplyError(
                f"{where} contradicts another table for the same id",
                given=f"row {int(known.nonzero()[again][0])}",
                remedy="correct the label, or mask it in one of the tables (numpy.ma)",
            )
        stored[to], there[to] = values[known], True

    def _priced(self, prices: Mapping[str, float]) -> dict[str, float]:
        for field, price in prices.items():
            if field not in self.fields:
                raise SupplyError(
                    f"a price for {field!r}, which no table has", expected=f"one of {', '.join(self.fields)}"
                )
            if not price >= 0:
                raise SupplyError(f"the price of {field!r} is {price}", expected="a number of 0 or more")
        return {field: float(prices.get(field, 1.0)) for field in self.fields}

    def _check_groups(self) -> None:
        seen: dict[int, int] = {}
        for split in range(len(SPLITS)):
            for group in np.unique(self.groups[self.splits == split]).tolist():
                if group in seen:
                    raise SupplyError(
                        f"group {group} is in two splits: {SPLITS[seen[group]]} and {SPLITS[split]}",
                        expected="every group (person, writer, document) in one split",
                        remedy="put all its examples in one, or leave `split` out and let the supply divide",
                    )
                seen[group] = split
        for split, name in enumerate(SPLITS):
            if not (self.splits == split).any():
                raise SupplyError(
                    f"no example is in the {name} split",
                    expected=f"examples in each of {', '.join(SPLITS)}",
                    remedy="give more examples or groups, or a `split` column with all three",
                )

    def __len__(self) -> int:
        return len(self.splits)

    def rows(self, split: str, field: str | None = None) -> Int[NDArray, " m"]:
        """The examples of a split; with a field, those whose label is known."""
        chosen = self.splits == SPLITS.index(split)
        if field is not None:
            chosen = chosen & self.present[field].numpy()
        return np.flatnonzero(chosen)

    def held(self, field: str) -> int:
        """How many training labels of a field there are. Raises SupplyError where no table has the field."""
        if field not in self.fields:
            raise SupplyError(
                f"no table has labels of {field!r}",
                given=f"tables with {', '.join(sorted(self.fields))}",
                remedy=f"add a column {field!r} to a table, or name the field as the table does",
            )
        return len(self.rows("train", field))

    def subset(self, budget: Mapping[str, int], seed: int) -> dict[str, Int[NDArray, " m"]]:
        """The training examples whose labels a budget buys, {field: examples}.

        Nested: with one seed, a smaller budget's examples are among a larger one's, and all fields take from
        one order. Raises SupplyError where the budget is larger than the supply.
        """
        order = np.random.default_rng([seed, len(self)]).permutation(len(self))
        chosen = {}
        for field, n in budget.items():
            held = self.held(field)
            if not 0 <= n <= held:
                raise SupplyError(
                    f"a budget of {n} labels of {field!r}",
                    expected=f"0 to {held}, the training labels the supply holds",
                    remedy="ask for fewer, or add labelled examples to the train split",
                )
            known = np.zeros(len(self), dtype=bool)
            known[self.rows("train", field)] = True
            chosen[field] = order[known[order]][:n]
        return chosen

    def doublings(self, field: str, n_budgets: int = 7) -> list[int]:
        """Budgets of a field that double up to all the supply holds (fewer where that would be under 10)."""
        top = self.held(field)
        return [n for n in (top // 2**k for k in reversed(range(n_budgets))) if n >= min(10, top)]

    def take(self, fields: Iterable[str], rows: Int[NDArray, " m"]) -> dict[str, Tensor]:
        """Those rows of those fields, as tensors."""
        index = torch.from_numpy(rows)
        return {field: self.fields[field][index] for field in fields}

    def known(self, field: str, rows: Int[NDArray, " m"]) -> Bool[Tensor, " m"]:
        """For which of the rows a field's label is known."""
        return self.present[field][torch.from_numpy(rows)]

    @property
    def digest(self) -> str:
        """A hash of all fields, groups and splits: what a model or a run was made from."""
        total = hashlib.sha256()
        for field in sorted(self.fields):
            total.update(field.encode() + str(tuple(self.fields[field].shape)).encode())
            total.update(np.ascontiguousarray(self.fields[field].numpy()).data)
            total.update(self.present[field].numpy().tobytes())
        total.update(self.groups.tobytes() + self.splits.tobytes())
        return total.hexdigest()[:16]

    def save(self, folder: Path) -> None:
        """Write one `.npy` file a field, so that several processes can map the same memory."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for field in self.fields:
                np.save(folder / f"{field}.npy", self.fields[field].numpy())
                np.save(folder / f"{field}.present.npy", self.present[field].numpy())
            np.save(folder / "groups.npy", self.groups)
            np.save(folder / "splits.npy", self.splits)
        except OSError as error:
            raise storage_error(folder, error) from error
        write_json(folder / "supply.json", {"fields": list(self.fields), "prices": self.prices})

    @classmethod
    def open(cls, folder: Path) -> "Supply":
        """Map what `save` wrote; nothing is read until it is needed."""

        def mapped(name: str) -> NDArray:
            # mode "c": torch wants a writable array; writes would stay in this process
            return np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)

        supply = cls.__new__(cls)
        described = json.loads((folder / "supply.json").read_text())
        supply.fields = {field: torch.from_numpy(mapped(field)) for field in described["fields"]}
        supply.present = {field: torch.from_numpy(mapped(f"{field}.present")) for field in described["fields"]}
        supply.groups, supply.splits = np.asarray(mapped("groups")), np.asarray(mapped("splits"))
        supply.prices = described["prices"]
        return supply


Table = dict[str, tuple[Any, Any]]


def _read_table(name: str, table: Mapping[str, Column]) -> Table:
    read: Table = {}
    lengths = {}
    for field, column in table.items():
        where = f"field {field!r} of table {name!r}"
        read[field] = _read_keys(where, column) if field in RESERVED else _read_labels(where, column)
        lengths[field] = len(read[field][0])
    if len(set(lengths.values())) > 1:
        usual = max(set(lengths.values()), key=list(lengths.values()).count)
        odd = next(field for field, length in lengths.items() if length != usual)
        raise SupplyError(
            f"field {odd!r} of table {name!r} has {lengths[odd]} rows",
            expected=f"{usual}, as the table's other fields have",
            remedy="give every field a row an example; mask the rows without a label (numpy.ma)",
        )
    return read


def _read_keys(where: str, column: Column) -> tuple[NDArray, None]:
    keys = np.asarray(column)
    if keys.dtype == object or keys.ndim == 0 or (keys.dtype.kind == "f" and np.isnan(keys).any()):
        raise SupplyError(f"{where} cannot be used", given=str(keys.dtype), expected="numbers or text, none missing")
    return keys, None


def _read_labels(where: str, column: Column) -> tuple[Tensor, Tensor]:
    if isinstance(column, Tensor):
        column = column.detach().cpu().numpy()
    known = ~np.ma.getmaskarray(column).reshape(len(column), -1).any(1) if np.ma.isMaskedArray(column) else None
    try:
        array = np.asarray(np.ma.getdata(column))
    except ValueError as error:
        raise SupplyError(f"{where} is not a rectangular array", given=str(error)) from None
    if array.ndim == 0:
        raise SupplyError(f"{where} is a single value", expected="a row an example")
    if array.dtype.kind not in "biuf":
        row = next((i for i, v in enumerate(array.flat) if not isinstance(v, int | float)), 0)
        raise SupplyError(
            f"{where} holds {array.dtype}, not numbers",
            given=f"{array.flat[row] if array.size else array!r} in row {row}",
            expected="numbers; a category as a whole number from 0",
            remedy="encode it; where a label is missing, mask the row (numpy.ma) or leave it out of the table",
        )
    known = np.ones(len(array), dtype=bool) if known is None else known
    if array.dtype.kind == "f":
        bad = known & ~np.isfinite(array).reshape(len(array), -1).all(1)
        if bad.any():
            raise SupplyError(
                f"{where} is not a finite number in {bad.sum()} of {len(array)} rows",
                given=f"row {int(bad.argmax())}",
                expected="finite numbers",
                remedy="correct them; where a label is missing, mask the row (numpy.ma) or leave it out",
            )
        array = np.where(known.reshape(-1, *[1] * (array.ndim - 1)), array, 0).astype(np.float32, copy=False)
    elif array.dtype != np.uint8 and array.dtype.kind != "b":
        array = array.astype(np.int64, copy=False)
    return torch.from_numpy(np.ascontiguousarray(array)), torch.from_numpy(known)


def _examples(read: Mapping[str, Table]) -> dict[str, Int[NDArray, " m"]]:
    """For each table, which example each of its rows is: rows with one id are one example."""
    number: dict[Any, int] = {}
    n, examples = 0, {}
    for name, table in read.items():
        if "id" not in table:
            length = len(next(iter(table.values()))[0]) if table else 0
            examples[name] = np.arange(n, n + length)
            n += length
            continue
        ids = table["id"][0].tolist()
        if len(set(ids)) < len(ids):
            twice = next(i for i in ids if ids.count(i) > 1)
            raise SupplyError(f"id {twice!r} is twice in table {name!r}", expected="one row an id in a table")
        for i in ids:
            if i not in number:
                number[i] = n
                n += 1
        examples[name] = np.array([number[i] for i in ids], dtype=np.int64)
    return examples


def _groups(read: Mapping[str, Table], examples: Mapping[str, NDArray], n: int) -> Int[NDArray, "n k"]:
    given = {name: table["group"][0].reshape(len(table["group"][0]), -1) for name, table in read.items() if "group" in table}
    if not given:
        return np.arange(n)[:, None]
    width = max(keys.shape[1] for keys in given.values())
    groups = np.full((n, width), -1, dtype=np.int64)
    number: dict[Any, int] = {}
    for name, keys in given.items():
        codes = np.array([[number.setdefault(k, len(number)) for k in row] for row in keys.tolist()])
        codes = np.concatenate([codes, np.repeat(codes[:, :1], width - codes.shape[1], axis=1)], axis=1)
        _agree(name, "group", groups[examples[name]], codes)
        groups[examples[name]] = codes
    alone = groups[:, 0] < 0
    groups[alone] = len(number) + np.arange(alone.sum())[:, None]
    return groups


def _splits(read: Mapping[str, Table], examples: Mapping[str, NDArray], groups: NDArray) -> Int[NDArray, " n"]:
    given = {name: table["split"][0] for name, table in read.items() if "split" in table}
    if not given:
        return _divided(groups)
    splits = np.full(len(groups), -1, dtype=np.int64)
    for name, words in given.items():
        unknown = sorted({str(w) for w in words.tolist()} - set(SPLITS))
        if unknown:
            raise SupplyError(
                f"`split` of table {name!r} has {unknown[0]!r}", expected=f"one of {', '.join(SPLITS)}"
            )
        codes = np.array([SPLITS.index(w) for w in words.tolist()])
        _agree(name, "split", splits[examples[name]][:, None], codes[:, None])
        splits[examples[name]] = codes
    if (splits < 0).any():
        lacking = next(name for name in read if (splits[examples[name]] < 0).any())
        raise SupplyError(
            f"some examples of table {lacking!r} have no `split`, others do",
            remedy="give every table without a shared id a `split` column, or none",
        )
    return splits


def _agree(table: str, column: str, before: NDArray, now: NDArray) -> None:
    clash = ((before >= 0) & (before != now)).any(1)
    if clash.any():
        raise SupplyError(
            f"`{column}` of table {table!r} contradicts another table for the same id",
            given=f"row {int(clash.argmax())}",
        )


def _divided(groups: Int[NDArray, "n k"]) -> Int[NDArray, " n"]:
    """Divide groups .6, .2, .2. Examples that share any group stay together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, width = groups.shape
    ends = np.concatenate([np.repeat(np.arange(n), width), n + groups.reshape(-1)])
    size = int(ends.max()) + 1
    links = coo_array((np.ones(n * width), (ends[: n * width], ends[n * width :])), shape=(size, size))
    cluster = connected_components(links, directed=False)[1][:n]
    names = np.unique(cluster)
    shuffled = np.random.default_rng(0).permutation(len(names))
    bounds = np.round(np.array([0.6, 0.8]) * len(names)).astype(int)
    split_of = np.digitize(np.argsort(shuffled), bounds)
    return split_of[np.searchsorted(names, cluster)].astype(np.int64)


def batches(n: int, size: int) -> Sequence[slice]:
    """Slices that cover n rows, `size` at a time."""
    return [slice(start, start + size) for start in range(0, n, size)]
