"""Learning curves, and what they predict."""

from seamwise.forecast.distribution import Forecast as Forecast
from seamwise.forecast.predict import forecast as forecast

__all__ = ["Forecast", "forecast"]
