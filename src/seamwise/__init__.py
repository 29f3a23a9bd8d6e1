"""seamwise: pipeline or end to end? Train the same chain every way over growing label budgets, and measure it.

Everything named here is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seamwise.version import VERSION

if TYPE_CHECKING:
    from seamwise.advice import Advice as Advice
    from seamwise.advice import advise as advise
    from seamwise.chain import Chain as Chain
    from seamwise.metrics import Target as Target
    from seamwise.metrics import categories as categories
    from seamwise.metrics import numbers as numbers
    from seamwise.model import Model as Model
    from seamwise.model import load_model as load_model
    from seamwise.model import train as train
    from seamwise.runs import Study as Study
    from seamwise.runs import open_run as open_run
    from seamwise.settings import Fit as Fit
    from seamwise.stage import Designed as Designed
    from seamwise.stage import Estimator as Estimator
    from seamwise.stage import Learned as Learned
    from seamwise.stage import Outside as Outside
    from seamwise.studies import study as study
    from seamwise.supply import Supply as Supply
    from seamwise.task import Task as Task
    from seamwise.task import load_task as load_task
    from seamwise.trial import Trial as Trial

__version__ = VERSION

_HOME = {
    "Advice": "advice",
    "Chain": "chain",
    "Designed": "stage",
    "Estimator": "stage",
    "Fit": "settings",
    "Learned": "stage",
    "Model": "model",
    "Outside": "stage",
    "Study": "runs",
    "Supply": "supply",
    "Target": "metrics",
    "Task": "task",
    "Trial": "trial",
    "advise": "advice",
    "categories": "metrics",
    "load_model": "model",
    "load_task": "task",
    "numbers": "metrics",
    "open_run": "runs",
    "study": "studies",
    "train": "model",
}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'seamwise' has no attribute {name!r}")
    return getattr(import_module(f"seamwise.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
