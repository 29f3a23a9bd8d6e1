"""Shape aliases: `Float[Tensor, "batch 3 height width"]` in a signature is checked by the tests."""

from torch import Tensor

from seamwise.arrays import Bool, Complex, Float, Int, NDArray, Shaped, UInt8

__all__ = ["Bool", "Complex", "Float", "Int", "NDArray", "Shaped", "Tensor", "UInt8"]
