"""Shape aliases of numpy arrays, for what does without torch."""

from jaxtyping import Bool, Complex, Float, Int, Shaped, UInt8
from numpy import ndarray as NDArray

__all__ = ["Bool", "Complex", "Float", "Int", "NDArray", "Shaped", "UInt8"]
