"""Reading the tables a supply is made of: columns, ids, groups and splits, each checked."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch

from seamwise.errors import SupplyError
from seamwise.shapes import Int, NDArray, Tensor

SPLITS = ("train", "validation", "test")
RESERVED = ("id", "group", "split")
DIMS = {"id": 1, "group": 2, "split": 1}  # at most

Column = Any
"""A numpy array (masked where a label is missing), a torch tensor, or a list of numbers."""

Table = dict[str, tuple[Any, Any]]
"""{field: (values, for which rows they are known)}; keys (id, group, split) have no second part."""


def read_table(name: str, table: Mapping[str, Column]) -> Table:
    """Read a table's columns. Raises SupplyError naming table, field and row."""
    if not callable(getattr(table, "items", None)):  # a data frame will do
        raise SupplyError(f"table {name!r} is a {type(table).__name__}", expected='{"field": array, ...}')
    read: Table = {}
    lengths = {}
    for field, column in table.items():
        where = f"field {field!r} of table {name!r}"
        read[field] = _read_keys(where, column, DIMS[field]) if field in RESERVED else _read_labels(where, column)
        lengths[field] = len(read[field][0])
    if not read:
        raise SupplyError(f"table {name!r} has no fields", expected='{"field": array, ...}')
    if len(set(lengths.values())) > 1:
        raise _length_error(name, lengths)
    return read


def _length_error(name: str, lengths: Mapping[str, int]) -> SupplyError:
    found = list(lengths.values())
    usual = max(found, key=found.count)
    one = next(field for field, length in lengths.items() if length == usual)
    odd = next(field for field, length in lengths.items() if length != usual)
    return SupplyError(
        f"table {name!r}: field {one!r} has {usual} rows, {odd!r} {lengths[odd]}",
        expected=f"{usual}, as {found.count(usual)} of its {len(found)} fields have" if len(found) > 2 else "",
        remedy="give every field a row an example; mask the rows without a label (numpy.ma)",
    )


def _read_keys(where: str, column: Column, n_dims: int) -> tuple[NDArray, None]:
    try:
        keys = np.asarray(_of_tensor(where, column.detach().cpu()) if isinstance(column, Tensor) else column)
    except ValueError as error:
        raise SupplyError(f"{where} is not a rectangular array", given=str(error)) from None
    if np.ma.isMaskedArray(column) and np.ma.getmaskarray(column).any():
        raise SupplyError(
            f"{where} is masked in some rows",
            given=f"row {int(np.argwhere(np.ma.getmaskarray(column))[0][0])}",
            expected="none missing",
            remedy="give every row its own, or leave the column out of the table",
        )
    if keys.dtype == object and all(isinstance(key, str) for key in keys.flat):  # as pandas has text
        keys = keys.astype(str)
    if keys.dtype == object or keys.ndim == 0 or (keys.dtype.kind == "f" and np.isnan(keys).any()):
        raise SupplyError(f"{where} cannot be used", given=str(keys.dtype), expected="numbers or text, none missing")
    if keys.ndim > n_dims:
        raise SupplyError(f"{where} has {keys.ndim} dimensions", given=str(list(keys.shape)), expected="one key a row")
    return keys, None


def _read_labels(where: str, column: Column) -> tuple[Tensor, Tensor]:
    if isinstance(column, Tensor):
        column = _of_tensor(where, column.detach().cpu())
    array = _rectangular(where, column)
    masked = np.ma.getmaskarray(column) if np.ma.isMaskedArray(column) else np.zeros(array.shape, dtype=bool)
    known = np.asarray(~masked.reshape(len(array), -1).any(1))
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
        _check_finite(where, array, known)
    elif array.dtype != np.uint8 and array.dtype.kind != "b":
        _check_small(where, array, known)
        array = array.astype(np.int64, copy=False)
    if not known.all():
        array = np.where(known.reshape(-1, *[1] * (array.ndim - 1)), array, np.zeros((), array.dtype))
    if not array.flags.writeable:  # torch would warn
        array = array.copy()
    return torch.from_numpy(np.ascontiguousarray(array)), torch.from_numpy(known)


def _of_tensor(where: str, column: Tensor) -> NDArray:
    try:
        return (column.float() if column.dtype == torch.bfloat16 else column).numpy()
    except (TypeError, RuntimeError) as error:  # of another kind than numpy has, sparse or quantised
        raise SupplyError(f"{where} cannot be used", given=str(error), expected="a plain tensor of numbers") from None


def _rectangular(where: str, column: Column) -> NDArray:
    try:
        array = np.asarray(np.ma.getdata(column))
        if array.dtype == object and np.ma.isMaskedArray(column):  # None where it is masked, say
            array = np.asarray(column.filled(0).tolist())
    except ValueError as error:
        raise SupplyError(f"{where} is not a rectangular array", given=str(error)) from None
    if array.ndim == 0 or array.size == 0:
        raise SupplyError(f"{where} is {'a single value' if array.ndim == 0 else 'empty'}", expected="a row an example")
    if array.dtype.kind not in "biuf":
        at = next((i for i, v in enumerate(array.flat) if not isinstance(v, Real)), 0)
        raise SupplyError(
            f"{where} holds {array.dtype}, not numbers",
            given=f"{array.reshape(-1)[at : at + 1].tolist()[0]!r} in row {at // (array.size // len(array))}",
            expected="numbers; a category as a whole number from 0",
            remedy="encode it; where a label is missing, mask the row (numpy.ma) or leave it out of the table",
        )
    return array


def _check_finite(where: str, array: NDArray, known: NDArray) -> None:
    bad = known & ~np.isfinite(array).reshape(len(array), -1).all(1)
    if bad.any():
        raise SupplyError(
            f"{where} is not a finite number in {bad.sum()} of {len(array)} rows",
            given=f"row {int(bad.argmax())}",
            expected="finite numbers",
            remedy="correct them; where a label is missing, mask the row (numpy.ma) or leave it out",
        )


def _check_small(where: str, array: NDArray, known: NDArray) -> None:
    """Whole numbers are kept as int64."""
    most = np.iinfo(np.int64).max
    big = known & (array > most).reshape(len(array), -1).any(1)
    if big.any():
        raise SupplyError(
            f"{where} is too large a whole number", given=f"row {int(big.argmax())}", expected=f"at most {most}"
        )


def examples_of(read: Mapping[str, Table]) -> dict[str, Int[NDArray, " m"]]:
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


def groups_of(
    read: Mapping[str, Table], examples: Mapping[str, NDArray], n: int
) -> tuple[Int[NDArray, "n k"], list[Any]]:
    """The groups of every example as numbers, and what each number is called in the tables."""
    given = {
        name: table["group"][0].reshape(len(table["group"][0]), -1) for name, table in read.items() if "group" in table
    }
    given = {name: keys for name, keys in given.items() if keys.shape[1]}  # no column says nothing
    if not given:
        return np.arange(n)[:, None], list(range(n))
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
    return groups, [*number, *(f"row {row}, alone" for row in np.flatnonzero(alone))]


def splits_of(read: Mapping[str, Table], examples: Mapping[str, NDArray], groups: NDArray) -> Int[NDArray, " n"]:
    """The split of every example, by its place in SPLITS; where no table says, groups are divided."""
    given = {name: table["split"][0] for name, table in read.items() if "split" in table}
    if not given:
        return _divided(groups)
    splits = np.full(len(groups), -1, dtype=np.int64)
    for name, words in given.items():
        unknown = sorted({str(w) for w in words.tolist()} - set(SPLITS))
        if unknown:
            raise SupplyError(f"`split` of table {name!r} has {unknown[0]!r}", expected=f"one of {', '.join(SPLITS)}")
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
    split_of: NDArray = np.digitize(np.argsort(shuffled), bounds).astype(np.int64)
    return np.asarray(split_of[np.searchsorted(names, cluster)])


def check_columns(
    fields: Mapping[str, Tensor], present: Mapping[str, Tensor], groups: NDArray, splits: NDArray
) -> None:
    """That columns which were read again are of the same examples. Raises ValueError."""
    n = len(splits)
    fit = groups.ndim == 2 and len(groups) == n and all(len(column) == n for column in fields.values())
    fit &= all(there.shape == (n,) and there.dtype == torch.bool for there in present.values())
    if not fit or groups.dtype.kind != "i" or not np.isin(splits, range(len(SPLITS))).all():
        raise ValueError(f"its columns do not fit {n} examples in splits")
