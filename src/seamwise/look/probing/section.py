"""On the page of a look: how well the fields of the stages can be read from each layer of a network."""

from markupsafe import Markup

from seamwise.chain import ChainNet
from seamwise.errors import TaskError
from seamwise.look.page import drawing
from seamwise.look.page.page import Section
from seamwise.look.probing.probe import Probed, best_layers, rediscovered, stage_fields
from seamwise.task import Task

LEAD = (
    "A linear probe reads a stage's field from each layer, in the error of the field's own metric on test items (90 % "
    "interval). A layer holds a field where the probe beats the same probe on the network before training. Control: "
    "the same probe on labels that were dealt out at random (Hewitt & Liang 2019): where it does about as well, the "
    "probe learns by heart. Without looking: what one would answer. The layer of least validation error is marked."
)


MOST = 1000  # items of each split


def probed(task: Task, net: ChainNet, name: str) -> list[Section]:
    """One section; none where no stage has labels that a linear probe can read."""
    if not stage_fields(task):
        return []
    try:
        (found,) = rediscovered(task, {name: net}, max_items=MOST)
    except TaskError:
        return []
    return [Section("Can the stages be read from the layers?", LEAD, _table(found))]


def _table(found: Probed) -> Markup:
    before = {(score.field, score.layer): score.error for score in found.untrained}
    best = {field: score.layer for field, score in best_layers(found.scores).items()}
    columns = [
        "field",
        "layer",
        "error",
        "5 %",
        "95 %",
        "before training",
        "control",
        "without looking",
        "unit",
        "best",
    ]
    lines: list[list[drawing.Cell]] = [
        [
            score.field,
            score.layer,
            score.error,
            score.low,
            score.high,
            before.get((score.field, score.layer)),
            score.control,
            score.trivial,
            score.unit,
            "best" if best.get(score.field) == score.layer else "",
        ]
        for score in found.scores
    ]
    return drawing.table(columns, lines)
