"""Supply: the labelled examples at hand, from one table or several.

A table maps column names to equally long arrays. Three column names are reserved: `id` (rows of different
tables with one id are one example), `group` (person, writer, document: never in two splits; two dimensions
where an example belongs to several), and `split` ("train", "validation" or "test").
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from seamwise.errors import StorageError, SupplyError
from seamwise.noise import are_categories, both_noises, made_noisy
from seamwise.shapes import Bool, Int, NDArray, Tensor
from seamwise.tables import RESERVED, SPLITS, Column, check_columns, examples_of, groups_of, read_table, splits_of
from seamwise.trial import write_json, writing

Subset = Mapping[str, NDArray]
"""Which training examples a training may use the labels of: {field: examples}, each in a fixed order."""


@final
class Supply:
    """Examples, which of their fields are known, how they are grouped and split, and what a label costs.

    tables: {"name": {"field": column, ...}, ...}. A field may be absent from some tables, or masked in some
    rows (numpy.ma); it is then missing for those examples. Integers are kept as such (categories), other
    numbers become float32.
    prices: {field: price of one label}, in any currency; 1 where not given.
    noise: {field: how noisy its labels are}, where that is known: of categories (whole numbers) the share of wrong
    ones, of other numbers the standard deviation of their error, in the label's unit.
    Where no table has `split`, groups are divided .6, .2, .2 at random, always the same way; where none has
    `group`, every example is its own.

    Raises SupplyError, naming table, field and row.
    """

    fields: dict[str, Tensor]
    present: dict[str, Tensor]
    groups: Int[NDArray, "n k"]
    splits: Int[NDArray, " n"]
    prices: dict[str, float]
    noise: dict[str, float]

    def __init__(
        self,
        tables: Mapping[str, Mapping[str, Column]],
        *,
        prices: Mapping[str, float] | None = None,
        noise: Mapping[str, float] | None = None,
    ) -> None:
        if not isinstance(tables, Mapping):
            raise SupplyError(
                f"the tables of a supply are a {type(tables).__name__}", expected='{"name": {"field": array, ...}}'
            )
        read = {name: read_table(name, table) for name, table in tables.items()}
        if not read:
            raise SupplyError("the supply has no tables", expected='{"name": {"field": array, ...}}')
        examples = examples_of(read)
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
        self.groups, names = groups_of(read, examples, n)
        self.splits = splits_of(read, examples, self.groups)
        self.prices = self._priced(prices or {})
        self.noise = self._noise_of(noise or {})
        self._check_splits(names)

    def _take(self, where: str, field: str, values: Tensor, known: Tensor, rows: Int[NDArray, " m"], n: int) -> None:
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

    def _check_fields(self, values: Mapping[str, float], are: str, expected: str, one: str) -> None:
        """That values are given by field, of fields that a table has."""
        if not isinstance(values, Mapping):
            raise SupplyError(f"{are} a {type(values).__name__}", expected=expected)
        for field in values:
            if field not in self.fields:
                raise SupplyError(f"{one} {field!r}, which no table has", expected=f"one of {', '.join(self.fields)}")

    def _priced(self, prices: Mapping[str, float]) -> dict[str, float]:
        self._check_fields(prices, "the prices are", '{"field": price, ...}', "a price for")
        for field, price in prices.items():
            if not _is_price(price):
                raise SupplyError(f"the price of {field!r} is {price!r}", expected="a finite number of 0 or more")
        return {field: float(prices.get(field, 1.0)) for field in self.fields}

    def _noise_of(self, noise: Mapping[str, float]) -> dict[str, float]:
        self._check_fields(noise, "the noise is", '{"field": noise of its labels, ...}', "noise of")
        for field, amount in noise.items():
            self._check_noise(f"the noise of {field!r}", field, amount)
        return {field: float(amount) for field, amount in noise.items()}

    def _check_noise(self, what: str, field: str, amount: Any) -> None:
        share = are_categories(self.fields[field])
        if not _is_price(amount) or (share and float(amount) > 1):
            expected = "a share from 0 to 1: its labels are categories" if share else "a finite number of 0 or more"
            raise SupplyError(f"{what} is {amount!r}", expected=expected)

    def _check_splits(self, names: Sequence[Any]) -> None:
        seen: dict[int, int] = {}
        for split in range(len(SPLITS)):
            for group in np.unique(self.groups[self.splits == split]).tolist():
                if group in seen:
                    raise SupplyError(
                        f"group {names[group]!r} is in two splits: {SPLITS[seen[group]]} and {SPLITS[split]}",
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

    def only(self, rows: Int[NDArray, " m"]) -> "Supply":
        """A supply of some of the examples, in their splits and groups; a label is known where it was."""
        part = Supply.__new__(Supply)
        index = torch.from_numpy(rows)
        part.fields = {field: values[index] for field, values in self.fields.items()}
        part.present = {field: known[index] for field, known in self.present.items()}
        part.groups, part.splits = self.groups[rows], self.splits[rows]
        part.prices, part.noise = dict(self.prices), dict(self.noise)
        return part

    def with_noise(self, field: str, amount: float, seed: int = 0) -> "Supply":
        """The same supply with training and validation labels of a field made wrong; the test's stay as they are.

        amount: of categories, the probability that a label is replaced by another that its split has, each as
        probable; of other numbers, the standard deviation of what is added, in standard deviations of the labels.
        A label that is wrong at one amount is wrong at a larger one too. `noise` says how noisy the labels are now.
        Raises SupplyError.
        """
        self.held(field)
        self._check_noise(f"the noise to add to {field!r}", field, amount)
        rows = [self.rows(split, field) for split in ("train", "validation")]
        labels, added = made_noisy(field, self.fields[field], rows, float(amount), seed)
        noisy = Supply.__new__(Supply)
        noisy.__dict__.update(self.__dict__)
        noisy.fields = self.fields | {field: labels}
        noisy.noise = self.noise | {field: both_noises(self.noise.get(field, 0.0), added, self.fields[field])}
        return noisy

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
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for k, field in enumerate(self.fields):  # numbered, as a field's name need not suit a file
                np.save(folder / f"{k}.npy", self.fields[field].numpy())
                np.save(folder / f"{k}.present.npy", self.present[field].numpy())
            np.save(folder / "groups.npy", self.groups)
            np.save(folder / "splits.npy", self.splits)
        write_json(folder / "supply.json", {"fields": list(self.fields), "prices": self.prices, "noise": self.noise})

    @classmethod
    def cached(cls, name: str, make: Callable[[], "Supply"]) -> "Supply":
        """The supply that `make` returns, kept by name in the user's cache so that it is made once.

        The cache is `SEAMWISE_CACHE`, else `~/.cache/seamwise`; where it cannot be written nothing is kept.
        """
        cache = Path(os.environ.get("SEAMWISE_CACHE") or Path.home() / ".cache" / "seamwise")
        if (cache / name / "supply.json").is_file():
            return cls.open(cache / name)
        supply, beside = make(), cache / f".{name}.{os.getpid()}"
        with suppress(OSError, StorageError):
            supply.save(beside)
            beside.rename(cache / name)
        shutil.rmtree(beside, ignore_errors=True)
        return supply

    @classmethod
    def open(cls, folder: Path) -> "Supply":
        """Map what `save` wrote; nothing is read until it is needed. Raises SupplyError where the folder is another."""
        try:
            supply = cls._mapped(folder)
        except Exception as error:  # a broken file raises many kinds
            given, expected = f"{type(error).__name__}: {error}", "what Supply.save wrote"
            raise SupplyError(f"{folder}: its supply cannot be read", given=given, expected=expected) from None
        return supply

    @classmethod
    def _mapped(cls, folder: Path) -> "Supply":
        def mapped(name: str) -> NDArray:
            # mode "c": torch wants a writable array; writes would stay in this process
            array: NDArray = np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)
            return array

        supply = cls.__new__(cls)
        described = json.loads((folder / "supply.json").read_text())
        numbered = list(enumerate(described["fields"]))
        supply.fields = {field: torch.from_numpy(mapped(str(k))) for k, field in numbered}
        supply.present = {field: torch.from_numpy(mapped(f"{k}.present")) for k, field in numbered}
        supply.groups, supply.splits = np.asarray(mapped("groups")), np.asarray(mapped("splits"))
        supply.prices = {field: float(described["prices"][field]) for field in supply.fields}
        supply.noise = {field: float(noise) for field, noise in described.get("noise", {}).items()}
        check_columns(supply.fields, supply.present, supply.groups, supply.splits)
        if not all(map(_is_price, (*supply.prices.values(), *supply.noise.values()))):
            raise ValueError("its prices or noises are no finite numbers of 0 or more")
        return supply


def _is_price(price: Any) -> bool:
    largest: Any = sys.float_info.max  # compared before it becomes a float: a whole number may be too large for one
    return isinstance(price, Real) and bool(price <= largest and not price < 0)


def batches(n: int, size: int) -> Sequence[slice]:
    """Slices that cover n rows, `size` at a time."""
    return [slice(start, start + size) for start in range(0, n, size)]
