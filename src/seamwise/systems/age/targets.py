"""What the stages of the age chain write, how it is trained and scored."""

from seamwise import Target
from seamwise.metrics import absolute_error, as_it_is, categories
from seamwise.shapes import Float, Tensor
from seamwise.systems.age.growth import BONES

MONTHS, MM = 12.0, 10.0  # a loss of 1: an age wrong by a year, landmarks by a centimetre


def distance(landmarks: Float[Tensor, "batch 25 2"], labels: Float[Tensor, "batch 25 2"]) -> Float[Tensor, " batch"]:
    """How far landmarks are from where they should be, in mm; the mean over the landmarks."""
    return (landmarks - labels).square().sum(-1).clamp_min(1e-6).sqrt().mean(-1)


def _far(landmarks: Float[Tensor, "batch 25 2"], labels: Float[Tensor, "batch 25 2"]) -> Float[Tensor, " batch"]:
    return distance(landmarks, labels) / MM


def _years(age: Float[Tensor, " batch"], labels: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    return absolute_error(age, labels) / MONTHS


def _wrong_lengths(lengths: Float[Tensor, "batch 19"], labels: Float[Tensor, "batch 19"]) -> Float[Tensor, " batch"]:
    return absolute_error(lengths, labels) / MM


def _signs(signs: Float[Tensor, "batch n"], labels: Float[Tensor, "batch n"]) -> Float[Tensor, " batch"]:
    return 10 * (signs - labels).square().mean(-1)


landmarks = Target("landmarks", _far, distance, as_it_is, "mm")
lengths = Target("lengths", _wrong_lengths, absolute_error, as_it_is, "mm")
plates = Target("plates", _signs, absolute_error, as_it_is, "share of maturity")
carpals = Target("carpals", _signs, absolute_error, as_it_is, "share of adult size")
bones = categories("bones", 1 + len(BONES))
age = Target("age", _years, absolute_error, as_it_is, "months")


def median_age(labels: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """What one answers without looking: the median, whose absolute error is least."""
    return labels.median()
