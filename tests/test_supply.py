from itertools import pairwise

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seamwise import Supply
from seamwise.errors import StorageError, SupplyError

SPLIT = np.array(["train"] * 6 + ["validation"] * 2 + ["test"] * 2)


def one_table(**columns):
    return Supply({"all": {"x": np.arange(10.0), "split": SPLIT} | columns})


@given(
    groups=st.lists(st.tuples(st.integers(20, 60), st.integers(20, 60)), min_size=40, max_size=80),
    masked=st.lists(st.booleans(), min_size=80, max_size=80),
    seed=st.integers(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_subsets_are_nested_and_known_and_no_group_is_in_two_splits(groups, masked, seed):
    groups = np.array([(i, i) if i < 20 else g for i, g in enumerate(map(tuple, groups))])
    label = np.ma.array(np.arange(len(groups)), mask=masked[: len(groups)])
    supply = Supply({"all": {"label": label, "group": groups}})
    for split in ("train", "validation", "test"):
        others = np.concatenate([supply.groups[supply.rows(s)] for s in ("train", "validation", "test") if s != split])
        assert not np.intersect1d(supply.groups[supply.rows(split)], others).size
    subsets = [supply.subset({"label": n}, seed)["label"] for n in range(supply.held("label") + 1)]
    for small, large in pairwise(subsets):
        assert set(small) < set(large)
    assert set(subsets[-1]) == set(supply.rows("train", "label"))
    assert not label.mask[subsets[-1]].any()


@given(top=st.integers(1, 100_000), n=st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_doublings_end_at_all_there_is(top, n):
    split = np.array(["train"] * min(top, 300) + ["validation", "test"])
    budgets = Supply({"all": {"x": np.arange(len(split)), "split": split}}).doublings("x", n)
    assert budgets[-1] == min(top, 300)
    assert len(budgets) <= n
    assert all(b // a == 2 for a, b in pairwise(budgets))
    assert budgets[0] >= min(10, top)


def test_rows_of_two_tables_with_one_id_are_one_example():
    supply = Supply(
        {
            "pictures": {"id": np.arange(10), "x": np.arange(10.0), "split": SPLIT},
            "labels": {"id": [3, 1, 8], "y": [30, 10, 80]},
        }
    )
    assert len(supply) == 10
    assert supply.rows("train", "y").tolist() == [1, 3]
    assert supply.take(["x", "y"], np.array([3])) == {"x": torch.tensor([3.0]), "y": torch.tensor([30])}


def test_fields_of_one_seed_share_an_order():
    supply = one_table(y=np.arange(10))
    subset = supply.subset({"x": 4, "y": 2}, seed=3)
    assert subset["y"].tolist() == subset["x"][:2].tolist()
    assert subset["x"].tolist() != supply.subset({"x": 4}, seed=4)["x"].tolist()


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (np.array([1.0] * 4 + [np.nan] + [2.0] * 5), ("field 'y' of table 'all'", "1 of 10 rows", "row 4", "mask")),
        (np.array([1.0] * 4 + [1e300] + [2.0] * 5), ("not a finite number", "row 4")),
        (["one"] * 10, ("field 'y'", "not numbers", "'one' in row 0")),
        ([[1, 2]] * 3 + [[1, None]] + [[1, 2]] * 6, ("None in row 3",)),
        ([[1, 2]] * 9 + [[1]], ("rectangular",)),
        (np.arange(7), ("table 'all': field 'x' has 10 rows, 'y' 7", "10, as 2 of its 3 fields have")),
        (5.0, ("single value",)),
        ([], ("empty",)),
        (np.arange(10, dtype=np.uint64) + np.uint64(2**63 - 5), ("field 'y'", "too large", "row 5", str(2**63 - 1))),
    ],
)
def test_a_bad_column_is_named_with_table_and_row(column, told):
    with pytest.raises(SupplyError) as error:
        one_table(y=column)
    for words in told:
        assert words in str(error.value)


def test_masked_labels_are_missing_and_their_values_forgotten():
    supply = one_table(y=np.ma.array([7] * 9 + [-1], mask=[False] * 9 + [True]))
    assert supply.rows("test", "y").tolist() == [8]
    assert supply.fields["y"].min() == 0
    assert one_table(y=np.ma.array([7] * 9 + [None], mask=[False] * 9 + [True])).held("y") == 6


def test_read_only_arrays_and_tensors_are_taken():
    column = np.arange(10.0)
    column.flags.writeable = False
    supply = one_table(y=column, z=torch.arange(10))
    assert supply.fields["y"].dtype == torch.float32
    assert supply.fields["z"].dtype == torch.int64


def test_a_group_in_two_splits_is_named_as_in_the_table():
    people = ["ann", "ann", "bob", "bob", "cid", "cid", "dan", "dan", "eve", "ann"]
    with pytest.raises(SupplyError, match="'ann' is in two splits: train and test"):
        one_table(group=people)
    with pytest.raises(SupplyError, match="'ann' is in two splits"):
        one_table(group=np.array(people, dtype=object))


def test_a_second_group_counts_too():
    groups = np.stack([np.arange(10), 100 + np.arange(10)], axis=1)
    groups[9, 1] = 0
    with pytest.raises(SupplyError, match="group 0 is in two splits"):
        one_table(group=groups)


def test_tables_that_contradict_each_other_are_refused():
    left = {"id": np.arange(10), "x": np.arange(10), "split": SPLIT}
    with pytest.raises(SupplyError, match=r"field 'x' of table 'b' contradicts.*\n.*row 1"):
        Supply({"a": left, "b": {"id": [0, 1], "x": [0, 5]}})
    with pytest.raises(SupplyError, match="`split` of table 'b' contradicts"):
        Supply({"a": left, "b": {"id": [0], "split": ["test"]}})
    with pytest.raises(SupplyError, match="differs from the same field"):
        Supply({"a": left, "b": {"id": [10], "x": [0.5], "split": ["test"]}})
    with pytest.raises(SupplyError, match="id 0 is twice in table 'b'"):
        Supply({"a": left, "b": {"id": [0, 0], "y": [1, 1]}})


def test_splits_are_all_or_none_and_all_three():
    with pytest.raises(SupplyError, match="'dev'"):
        one_table(split=np.where(SPLIT == "test", "dev", SPLIT))
    with pytest.raises(SupplyError, match="no example is in the test split"):
        one_table(split=np.where(SPLIT == "test", "train", SPLIT))
    with pytest.raises(SupplyError, match="some examples of table 'b' have no `split`"):
        Supply({"a": {"x": np.arange(10.0), "split": SPLIT}, "b": {"x": np.arange(3.0)}})


def test_a_budget_larger_than_the_supply_is_refused():
    with pytest.raises(SupplyError, match=r"7 labels of 'x'\n.*0 to 6"):
        one_table().subset({"x": 7}, 0)
    with pytest.raises(SupplyError, match="no table has labels of 'z'"):
        one_table().subset({"z": 1}, 0)


def test_prices_are_of_fields_and_not_negative():
    assert Supply({"a": {"x": np.arange(10.0), "split": SPLIT}}, prices={"x": 2}).prices == {"x": 2.0}
    with pytest.raises(SupplyError, match="price for 'z'"):
        Supply({"a": {"x": np.arange(10.0), "split": SPLIT}}, prices={"z": 2})
    with pytest.raises(SupplyError, match="price of 'x' is -1"):
        Supply({"a": {"x": np.arange(10.0), "split": SPLIT}}, prices={"x": -1})


def test_saved_and_mapped_the_supply_is_the_same(tmp_path):
    pairs = np.ma.array(np.arange(20.0).reshape(10, 2), mask=[[0, 1]] * 2 + [[0, 0]] * 8)
    supply = Supply({"a": {"groups": np.arange(10), "a/b": pairs}})
    supply.save(tmp_path)
    again = Supply.open(tmp_path)
    assert again.digest == supply.digest
    assert again.prices == supply.prices
    assert again.subset({"groups": 3}, 0)["groups"].tolist() == supply.subset({"groups": 3}, 0)["groups"].tolist()


def test_the_digest_sees_values_and_what_is_known():
    plain = one_table(y=np.arange(10))
    other = one_table(y=np.where(np.arange(10) == 3, 9, np.arange(10)))
    masked = one_table(y=np.ma.array(np.arange(10), mask=np.arange(10) == 0))
    assert len({plain.digest, other.digest, masked.digest}) == 3


def test_only_some_examples_keep_split_group_and_labels():
    supply = one_table(y=np.ma.array(np.arange(10), mask=np.arange(10) == 6))
    part = supply.only(np.array([0, 6, 7, 9]))
    assert part.rows("validation").tolist() == [1, 2]
    assert part.rows("validation", "y").tolist() == [2]
    assert part.fields["x"].tolist() == [0.0, 6.0, 7.0, 9.0]


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "0.npy").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        one_table().save(tmp_path)


@pytest.fixture
def untyped(monkeypatch):
    """As users run it: the tests' own check of types is off."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"t": {}}, "table 't' has no fields"),
        ({"t": np.arange(10)}, "table 't' is a ndarray"),
        ([{"x": np.arange(10)}], "tables of a supply are a list"),
        ({"t": {"x": np.arange(100), "y": np.arange(50)}}, "table 't': field 'x' has 100 rows, 'y' 50\n  remedy"),
        ({"t": {"id": np.arange(20).reshape(10, 2), "x": np.arange(10)}}, "field 'id' of table 't' has 2 dimensions"),
        ({"t": {"id": [[1], [1, 2]], "x": np.arange(2)}}, "field 'id' of table 't' is not a rectangular"),
        (
            {"t": {"group": np.ma.array([1, 2, 3], mask=[0, 1, 0]), "x": np.arange(3)}},
            "(?s)'group' .*row 1.*none missing",
        ),
    ],
)
def test_tables_of_another_kind_are_told(tables, told, untyped):
    with pytest.raises(SupplyError, match=told):
        Supply(tables)


def test_prices_that_are_no_numbers_are_told(untyped):
    table = {"a": {"x": np.arange(10.0), "split": SPLIT}}
    with pytest.raises(SupplyError, match="price of 'x' is '2'"):
        Supply(table, prices={"x": "2"})
    with pytest.raises(SupplyError, match="prices are a list"):
        Supply(table, prices=[2])


def test_a_large_value_under_a_mask_is_forgotten():
    column = np.ma.array(np.full(10, 2**64 - 1, dtype=np.uint64), mask=[True] * 3 + [False] * 7)
    column[3:] = 1
    assert one_table(y=column).fields["y"].tolist() == [0] * 3 + [1] * 7
