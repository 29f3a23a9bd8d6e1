"""Last stages of the age chain that are no network: ridge regression, and the growth table read backwards."""

from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from seamwise.shapes import Float, Shaped, Tensor
from seamwise.systems.age.statistics import posterior


def ridge() -> Pipeline:
    """Ridge regression on standardised fields, its penalty by leave-one-out."""
    return make_pipeline(StandardScaler(), RidgeCV([10.0**k for k in range(-2, 6)]))


def by_statistics(
    lengths: Float[Tensor, "batch 19"],
    sex: Shaped[Tensor, " batch"],
    plates: Float[Tensor, "batch 21"],
    carpals: Float[Tensor, "batch 8"],
) -> Float[Tensor, " batch"]:
    """The median of the age's posterior, lengths being true ones."""
    age, _ = posterior(lengths, sex, sex.new_ones(len(sex)), plates, carpals)
    return age


def by_ratios(
    lengths: Float[Tensor, "batch 19"],
    sex: Shaped[Tensor, " batch"],
    plates: Float[Tensor, "batch 21"],
    carpals: Float[Tensor, "batch 8"],
) -> Float[Tensor, " batch"]:
    """The same where nobody states the scale: only the ratios of lengths count."""
    age, _ = posterior(lengths, sex, sex.new_zeros(len(sex)), plates, carpals)
    return age
