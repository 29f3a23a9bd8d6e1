"""What a trained network learned: its filters, its units, and what they answer to.

Functions return numbers and records; `seamwise.look.page.drawing` and `write_look` draw them. Everything named here is
loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seamwise.look.attribution import grad_cam as grad_cam
    from seamwise.look.attribution import integrated_gradients as integrated_gradients
    from seamwise.look.attribution import projected as projected
    from seamwise.look.attribution import target as target
    from seamwise.look.cones import projections as projections
    from seamwise.look.dissection import dissect as dissect
    from seamwise.look.graph import Graph as Graph
    from seamwise.look.graph import graph_of as graph_of
    from seamwise.look.looking import Wanted as Wanted
    from seamwise.look.looking import look_at as look_at
    from seamwise.look.maximisation import maximise as maximise
    from seamwise.look.opening import open_chain as open_chain
    from seamwise.look.opening import open_factory as open_factory
    from seamwise.look.patches import exemplars as exemplars
    from seamwise.look.probing.probe import probe as probe
    from seamwise.look.probing.probe import rediscovered as rediscovered
    from seamwise.look.records import Exemplars as Exemplars
    from seamwise.look.records import Layer as Layer
    from seamwise.look.sanity import randomised as randomised
    from seamwise.look.showing import write_look as write_look
    from seamwise.look.text.showing import look_at_text as look_at_text
    from seamwise.look.text.showing import write_text_look as write_text_look
    from seamwise.look.text.units import text_units as text_units

_HOME = {
    "Exemplars": "records",
    "Graph": "graph",
    "Layer": "records",
    "Wanted": "looking",
    "dissect": "dissection",
    "exemplars": "patches",
    "grad_cam": "attribution",
    "graph_of": "graph",
    "integrated_gradients": "attribution",
    "look_at": "looking",
    "look_at_text": "text.showing",
    "maximise": "maximisation",
    "open_chain": "opening",
    "open_factory": "opening",
    "probe": "probing.probe",
    "projected": "attribution",
    "projections": "cones",
    "randomised": "sanity",
    "rediscovered": "probing.probe",
    "target": "attribution",
    "text_units": "text.units",
    "write_look": "showing",
    "write_text_look": "text.showing",
}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'seamwise.look' has no attribute {name!r}")
    return getattr(import_module(f"seamwise.look.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
