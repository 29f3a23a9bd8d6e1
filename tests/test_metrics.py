import math

import pytest
import torch

from seamwise import categories, numbers
from seamwise.metrics import absolute_error, error_rate, negative_log_likelihood, squared_error

SHARES = torch.tensor([[[0.7, 0.3], [0.2, 0.8]], [[0.1, 0.9], [0.5, 0.5]]])  # 2 items, 2 each, 2 classes
LABELS = torch.tensor([[0, 0], [1, 1]])


def test_scores_are_one_number_an_item():
    assert error_rate(SHARES, LABELS).tolist() == [0.5, 0.5]
    expected = [-(math.log(0.7) + math.log(0.2)) / 2, -(math.log(0.9) + math.log(0.5)) / 2]
    assert negative_log_likelihood(SHARES, LABELS).tolist() == pytest.approx(expected)
    values, labels = torch.tensor([[1.0, 4.0], [0.0, 0.0]]), torch.tensor([[2, 2], [0, 1]])
    assert absolute_error(values, labels).tolist() == [1.5, 0.5]
    assert squared_error(values, labels).tolist() == [2.5, 0.5]


def test_a_probability_of_zero_has_a_finite_loss():
    loss = negative_log_likelihood(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    assert torch.isfinite(loss).all()


@pytest.mark.parametrize("kind", [torch.uint8, torch.bool, torch.int64])
def test_bytes_and_yes_no_are_categories_too(kind):
    target, labels = categories("y", 2), torch.tensor([1, 0]).to(kind)
    gold = target.gold(labels)
    assert gold.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert target.metric(gold, labels).tolist() == [0.0, 0.0]
    assert target.loss(gold, labels).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("target", [categories("y", 3), numbers("y", "mm")])
def test_gold_scores_without_error(target):
    labels = torch.tensor([0, 2, 1])
    assert target.metric(target.gold(labels), labels).tolist() == [0.0, 0.0, 0.0]
