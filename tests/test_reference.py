"""The documentation site is built without a warning, describes every public name once, and its commands are there."""

import ast
import importlib
import importlib.util
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
import typer

import seamwise
import seamwise.errors
import seamwise.forecast
from seamwise.cli import OWN_COMMANDS, _is_own, app

pytest.importorskip("sphinx", reason="needs the extra `docs`")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs/extensions"))
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
docstrings, signatures = importlib.import_module("docstrings"), importlib.import_module("signatures")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(ROOT / "docs"), str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment)
    assert done.returncode == 0, done.stderr
    return out


def text_of(page: Path) -> str:
    return unescape(re.sub(r"<[^>]*>", "", page.read_text()))


def test_pages_ask_nothing_of_the_network(site: Path) -> None:
    loaded = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"((?:https?:)?//[^\"]*)\"")
    for page in site.rglob("*.html"):
        assert loaded.findall(page.read_text()) == [], page
    for page in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", page.read_text()) == [], page


def test_pages_are_all_there(site: Path) -> None:
    for name in ("index", "guide", "guide.zh", "glossary", "figures", "log", "site/overview", "site/benchmarks"):
        assert (site / f"{name}.html").exists()


def test_shapes_stand_as_in_the_source(site: Path) -> None:
    metrics, forecast = text_of(site / "api/metrics.html"), text_of(site / "api/forecast.html")
    assert 'probabilities: Float[Tensor, "batch *each classes"]' in metrics
    assert 'quantiles: Float[NDArray, "level at"]' in forecast
    assert "q: ArrayLike" in forecast
    for page in (site / "api").glob("*.html"):
        assert not re.search(r"<class '|jaxtyping\.\w+\[|object at 0x", text_of(page)), page


def described(site: Path) -> Counter[int]:
    """How often the site describes each class and function, by identity."""
    inventory = zlib.decompress((site / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode()
    found = re.findall(r"^(\S+) py:(?:class|function|exception) (-?\d)", inventory, re.MULTILINE)
    names = [name.rpartition(".") for name, priority in found if priority != "-1"]  # -1: one more name of an entry
    return Counter(id(getattr(importlib.import_module(module), own)) for module, _, own in names)


def packages() -> Iterator[ModuleType]:
    yield seamwise
    for found in pkgutil.walk_packages(seamwise.__path__, "seamwise."):
        if found.ispkg:
            yield importlib.import_module(found.name)


def whole_modules() -> Iterator[ModuleType]:
    for page in sorted((ROOT / "docs/api").glob("*.md")):
        yield from map(importlib.import_module, re.findall(r"automodule:: (\S+)", page.read_text()))


def public() -> dict[int, str]:
    """What the packages' `__all__` name, and what is at home in a module that a page gives as a whole."""
    things = {
        id(getattr(at, name)): f"{at.__name__}.{name}" for at in packages() for name in getattr(at, "__all__", ())
    }
    for module in whole_modules():
        for name in getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]:
            thing = getattr(module, name)
            if getattr(thing, "__module__", None) == module.__name__ and isinstance(thing, type | FunctionType):
                things[id(thing)] = f"{module.__name__}.{name}"
    return things


def test_every_public_name_is_described_once(site: Path) -> None:
    times = described(site)
    assert [name for thing, name in sorted(public().items(), key=lambda item: item[1]) if times[thing] != 1] == []


def test_names_and_what_they_are_become_a_list() -> None:
    docstring = """Train.

    task:  a Task
    out:   the run folder; `runs/TASK` by default,
           made where it is not there. seed: of the start
    """
    assert docstrings.as_rest(docstring, {"task", "out", "seed"}).splitlines() == [
        "Train.",
        "",
        "``task``",
        "    a Task",
        "``out``",
        "    the run folder; ``runs/TASK`` by default,",
        "    made where it is not there.",
        "``seed``",
        "    of the start",
    ]


def test_a_row_of_names_ends_with_its_sentence() -> None:
    told = docstrings.as_rest("n: labels. error: [seed, budget]. Beyond the last a pool forecasts.", {"n", "error"})
    assert told.splitlines() == [
        "``n``",
        "    labels.",
        "``error``",
        "    [seed, budget].",
        "",
        "Beyond the last a pool forecasts.",
    ]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("the mean over `each`, an item", "the mean over ``each``, an item"),
        ("|value - label| of *each*", r"\|value - label\| of \*each\*"),
        ("`Exemplar`s of a unit_", r"``Exemplar``\ s of a unit\_"),
        ("Source: Koh et al. 2020", "*Source*: Koh et al. 2020"),
        ("Raises InputError", ":py:exc:`~seamwise.errors.InputError`"),
    ],
    ids=["code", "marks", "joined", "source", "error"],
)
def test_plain_text_stays_plain(written: str, shown: str) -> None:
    assert shown in docstrings.as_rest(written)


def test_signatures_are_as_written() -> None:
    assert signatures.signature_of(seamwise.forecast.forecast) == (
        "(n: ArrayLike, error: ArrayLike, at: ArrayLike, seed: int=0)",
        "Forecast",
    )
    assert signatures.signature_of(seamwise.Target)[0].startswith("(field: str, loss: Score, metric: Score, ")
    given = '(what: str, *, given: str="", expected: str="", remedy: str="")'
    assert signatures.signature_of(seamwise.errors.SupplyError) == (given, None)


def commands() -> Iterator[tuple[str, list[str]]]:
    """(where, words) of every command line of `seamwise` and of Python in the pages."""
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = re.split(r"\s[<>|]\s", re.sub(r"(?<!\S)#.*", "", line))[0]
                yield page.name, shlex.split(re.sub(r"^(\w+=\S+\s+)+", "", words.strip()))


@cache
def command_of(name: str, system: str, is_own: bool) -> Any:
    if not is_own:
        return typer.main.get_command(app).commands[name]
    return typer.main.get_command(importlib.import_module(OWN_COMMANDS[system]).apps[name])


def test_seamwise_commands_have_their_options() -> None:
    asked = [(page, words[1:]) for page, words in commands() if words[:1] == ["seamwise"]]
    assert len(asked) > 40
    for page, (name, *rest) in asked:
        system = rest[0] if rest else ""
        is_own = system in OWN_COMMANDS and _is_own(name, system, {word.partition("=")[0] for word in rest})
        command = command_of(name, system if is_own else "", is_own)
        context = command.make_context(name, [], resilient_parsing=True)
        try:
            command.make_parser(context).parse_args(rest[is_own:])
        except Exception as error:
            pytest.fail(f"{page}: seamwise {name} {shlex.join(rest)}: {error}")


def test_scripts_have_their_options() -> None:
    asked = [(page, words[1:]) for page, words in commands() if words[:1] and words[0].endswith("python")]
    assert len(asked) > 20
    for page, words in asked:
        if words[0] == "-c":
            compile(words[1], page, "exec")
            continue
        script = _module_file(words[1]) if words[0] == "-m" else ROOT / words[0]
        known = _options_of(script)
        unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - known
        assert not unknown, f"{page}: {script.name} has no {sorted(unknown)}"


def _module_file(name: str) -> Path:
    found = importlib.util.find_spec(name)
    assert found, name
    path = Path(str(found.origin))
    return path.with_name("__main__.py") if path.name == "__init__.py" else path


def _options_of(script: Path) -> set[str]:
    calls = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Call)]
    added = [node for node in calls if isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument"]
    return {word.value for node in added for word in node.args if isinstance(word, ast.Constant)}
