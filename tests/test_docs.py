"""The documentation is run, and what it names is there."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import seamwise

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "my_task.py"
    path.write_text(blocks(ROOT / "docs/own-task.md", "python")[0])
    return path


def test_own_task_is_short(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 50


def test_own_task_is_studied(example: Path) -> None:
    command = [str(Path(sys.executable).with_name("seamwise")), "study", example.name, "--budgets", "67,269"]
    command += ["--seeds", "1", "--regimes", "independent,tuned,endtoend,direct"]
    done = subprocess.run(command, cwd=example.parent, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Best now" in done.stdout
    assert (example.parent / "runs/prime/report.html").stat().st_size > 10_000


def test_own_task_has_another_world(example: Path) -> None:
    more = blocks(ROOT / "docs/own-task.md", "python")[1]
    path = example.with_name("with_world.py")
    path.write_text(f"{example.read_text()}\n\n{more}")
    usual, faint = (seamwise.load_task(str(path), world={"faint": share}) for share in (0, 0.5))
    assert (faint.supply.fields["image"] * 2 == usual.supply.fields["image"]).all()
    assert faint.name == usual.name


def test_readme_python_runs(example: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    full = seamwise.study

    def small(task: str, out: str) -> seamwise.Study:
        return full(str(example), example.parent / out, budgets=[100, 400], seeds=1, regimes=["tuned"], quiet=True)

    monkeypatch.setattr(seamwise, "study", small)
    exec(compile(code, "README.md", "exec"), {})
    assert "best now" in capsys.readouterr().out


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_make_targets_in_the_readme_are_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        assert set(re.findall(r"^\s*make ([a-z]+)", page.read_text(), re.MULTILINE)) <= targets


def test_every_public_name_says_what_it_is() -> None:
    lacking = []
    for found in pkgutil.walk_packages(seamwise.__path__, "seamwise."):
        module = importlib.import_module(found.name)
        lacking += [] if module.__doc__ or found.ispkg else [found.name]
        for name, thing in vars(module).items():
            own = getattr(thing, "__module__", None) == found.name and not name.startswith("_")
            if own and (inspect.isclass(thing) or inspect.isfunction(thing)) and not inspect.getdoc(thing):
                lacking.append(f"{found.name}.{name}")
    systems = [name for name in lacking if ".systems." in name and name.rsplit(".", 1)[1][0].isupper()]
    assert sorted(set(lacking) - set(systems)) == []


def test_benchmarks_are_described() -> None:
    page = (ROOT / "benchmarks/README.md").read_text()
    for script in (ROOT / "benchmarks").glob("*.py"):
        assert f"`{script.name}`" in page
        assert ast.get_docstring(ast.parse(script.read_text()))
