"""Shape aliases: `Float[Tensor, "batch 3 height width"]` in a signature is checked by the tests."""

from jaxtyping import Bool, Float, Int, Shaped, UInt8
from numpy import ndarray as NDArray
from torch import Tensor

__all__ = ["Bool", "Float", "Int", "NDArray", "Shaped", "Tensor", "UInt8"]
