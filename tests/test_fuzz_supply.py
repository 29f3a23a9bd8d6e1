"""Tables of any columns make a supply, or are refused; and so are settings, budgets and prices of any kind."""

import math
from contextlib import suppress

import numpy as np
import pytest
import torch
from faulty import ODD_ARRAYS, TOKENS, VALUES, one_of
from fuzzing import FOLDER, Reader, Rule, always_holds, file_of, never_breaks
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from seamwise import Fit, Supply
from seamwise.cli.models import _labels
from seamwise.cli.options import numbers
from seamwise.cli.options import settings as read_option
from seamwise.errors import InputError
from seamwise.origin import checked_settings, origin_of, read_settings, written_settings

N = 12
FIELDS = ("x", "y", "id", "group", "split", "", "ü")
SPLITS = np.array(["train", "validation", "test"] * (N // 3))


def torch_columns():
    whole = st.sampled_from([torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.bool, torch.complex64])
    return whole.map(lambda dtype: torch.ones(N, 2).to(dtype))


def masked(column):
    array = np.asarray(column)
    return np.ma.array(array, mask=np.arange(array.size).reshape(array.shape) % 3 == 0)


def any_columns():
    """Of N rows mostly."""
    whole = [st.just(np.arange(float(N))), st.just(np.arange(N)), st.just(SPLITS), st.just(np.arange(N) // 4)]
    whole += [arrays(scalar_dtypes(), st.just(N)), arrays(scalar_dtypes(), array_shapes(max_dims=3, max_side=3))]
    whole += [st.sampled_from(range(len(ODD_ARRAYS))).map(lambda k: ODD_ARRAYS[k]), torch_columns(), one_of(VALUES)]
    whole += [st.lists(one_of((*VALUES, 10**400)), min_size=N, max_size=N), st.just(np.zeros((N, 0)))]
    return st.one_of(*whole, *(column.map(masked) for column in whole[:6]))


def tables():
    """With splits mostly, so that not all are refused for having none."""
    some = st.dictionaries(st.sampled_from(FIELDS), any_columns(), max_size=4)
    return some.flatmap(lambda table: st.sampled_from([table, {"split": SPLITS, "y": np.arange(N)} | table]))


def is_a_supply(some_tables):
    try:
        supply = Supply(some_tables)
    except InputError:
        return False
    assert len(supply) == len(supply.splits) == len(supply.groups)
    for field, values in supply.fields.items():
        assert len(values) == len(supply.present[field]) == len(supply)
        assert not values.is_floating_point() or bool(torch.isfinite(values).all())
        assert 0 <= supply.held(field) <= len(supply)
        assert len(supply.subset({field: supply.held(field)}, 0)[field]) == supply.held(field)
    assert len(supply.digest) == 16
    return True


LARGE = (10**400, -(10**400), 2**64, np.float64(2), True, 1e308, 5e-324)
NUMBERS = st.one_of(one_of(LARGE), st.floats(), st.integers(), st.integers(-2, N))


WHOLE = st.one_of(st.integers(), st.integers(-2, N), st.just(10**400))


def n_taken(*calls):
    """How many of them are not refused."""
    n = 0
    for call in calls:
        with suppress(InputError):
            assert call() is not False
            n += 1
    return n


def are_numbers(drawn):
    """Of prices, noises, budgets and settings."""
    price, noise, n = drawn
    table = {"x": {"x": np.arange(float(N)), "y": np.arange(N) % 2, "split": SPLITS}}
    for kind in ({"prices": {"x": price}}, {"noise": {"y": noise}}):
        with suppress(InputError):
            supply = Supply(table, **kind)
            assert all(math.isfinite(told) and told >= 0 for told in (*supply.prices.values(), *supply.noise.values()))
    return n_taken(
        lambda: Supply(table).subset({"x": n}, 0),
        lambda: Supply(table).with_noise("y", noise),
        lambda: Fit(rates=(price,), clip=price, average=noise),
        lambda: Fit(weight_decay=price, stage_weight=noise),
        lambda: Fit(batch=n, n_folds=n, warmup=n),
        lambda: checked_settings({"clutter": price}),
    )


def words():
    """What is typed for an option: numbers and names, a sign or more between them."""
    parts = st.one_of(one_of(TOKENS), st.sampled_from(["clutter", "noise.digit", "12", "0.5", "sum", "100,400"]))
    return st.lists(st.tuples(parts, st.sampled_from(["", ",", "=", ";", " ", "=1,", "/"])), max_size=4).map(
        lambda found: "".join(part + sign for part, sign in found)
    )


class Answered:
    class answer:  # noqa: N801
        field = "sum"


def are_options(text):
    return n_taken(
        lambda: [int(n) for n in numbers("--budgets", text)],
        lambda: all(math.isfinite(n) for n in read_option("--world", text).values()),
        lambda: read_settings(written_settings(read_settings(text))) == read_settings(text),
        lambda: origin_of(f"digits?{text}"),
        lambda: _labels(Answered, [text]),
    )


RULES = (
    Rule("tables", st.dictionaries(st.sampled_from(["a", "b"]), tables(), max_size=2), is_a_supply, 250),
    Rule("numbers", st.tuples(NUMBERS, NUMBERS, WHOLE), are_numbers, 120),
    Rule("options", words(), are_options, 250),
)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_what_is_given_is_taken_or_refused(rule):
    always_holds(rule)


def small():
    table = {"x": np.arange(N, dtype=np.float32), "y": np.ma.array(np.arange(N), mask=np.arange(N) > 9)}
    return Supply({"a": table | {"split": SPLITS}}, prices={"y": 2}, noise={"x": 0.5})


def supply_is_whole(supply):
    assert all(len(supply.take([field], supply.rows("train"))[field]) == N // 3 for field in supply.fields)
    assert len(supply.digest) == 16
    assert sum(supply.prices.values()) < math.inf


def of_supply(file, kinds):
    return Reader(
        f"a supply, {file}", file, lambda: [file_of(small().save, file)], Supply.open, supply_is_whole,
        lambda folder: small().save(folder), kinds, named=FOLDER, n_examples=40,
    )  # fmt: skip


READERS = (of_supply("supply.json", ("json",)), of_supply("0.npy", ()), of_supply("splits.npy", ()))


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_saved_supplies_are_opened_or_refused(reader, tmp_path):
    never_breaks(reader, tmp_path / FOLDER)


@pytest.mark.parametrize("text", ["²", "sum=²", "9" * 5000, "-1", "1_0", ""])
def test_numbers_of_labels_are_whole_numbers(text):
    with pytest.raises(InputError, match="--labels"):
        _labels(Answered, [text])
