"""The guide: its code runs and gives what is quoted, and both languages show the same."""

import ast
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
ENGLISH, CHINESE = (DOCS / name for name in ("guide.md", "guide.zh.md"))
BOTH = pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=["english", "chinese"])

QUOTED = [
    {"18.382", "0.56", "0.033", "1.02"},
    {"1.01", "0.75", "0.47"},
    {"0.128", "0.105", "0.150", "0.108", "0.087", "0.130", "0.020", "-0.010", "0.050", "0.005", "0.035"},
]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def decimals(text: str) -> set[str]:
    return set(re.findall(r"-?\d+\.\d+", text))


def commands(page: Path) -> list[str]:
    return [line for block in blocks(page, "sh") for line in re.sub(r"\s+#.*|\\\n\s*", " ", block).splitlines() if line]


@pytest.mark.parametrize("which", range(len(QUOTED)))
def test_code_gives_what_is_quoted(which: int, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks(ENGLISH, "python")[which], "guide.md", "exec"), {})
    assert QUOTED[which] <= decimals(capsys.readouterr().out)
    for page in (ENGLISH, CHINESE):
        assert QUOTED[which] <= decimals(page.read_text())


def test_code_is_the_same_but_for_comments() -> None:
    english, chinese = ([ast.dump(ast.parse(code)) for code in blocks(page, "python")] for page in (ENGLISH, CHINESE))
    assert english == chinese
    assert len(english) == len(QUOTED)


def test_commands_are_the_same() -> None:
    assert [c.split() for c in commands(ENGLISH)] == [c.split() for c in commands(CHINESE)]


@pytest.mark.parametrize(
    "pattern",
    [
        r"^## (\d+)\.",
        r"\]\(([\w-]+)[\w.]*\.(?:svg|jpg|png)\)",
        r"^\*\*(?:Exercise|练习) (\d+)",
        r"^(\|)",
        r"\[arXiv\s+([\d.]+)\]",
    ],
    ids=["sections", "figures", "exercises", "rows", "papers"],
)
def test_both_have_the_same(pattern: str) -> None:
    english, chinese = (re.findall(pattern, page.read_text(), re.MULTILINE) for page in (ENGLISH, CHINESE))
    assert english == chinese
    assert english


def test_both_have_the_same_numbers() -> None:
    assert decimals(ENGLISH.read_text()) == decimals(CHINESE.read_text())


@BOTH
def test_every_exercise_has_an_answer(page: Path) -> None:
    asked, answered = re.split(r"^### ", page.read_text(), flags=re.MULTILINE)
    n = len(re.findall(r"^\*\*(?:Exercise|练习) \d+", asked, re.MULTILINE))
    assert n == len(re.findall(r"^\d+\. ", answered, re.MULTILINE)) >= 6


@BOTH
def test_figures_are_small(page: Path) -> None:
    own = re.findall(r"\]\((guide-[\w.-]+\.svg)\)", page.read_text())
    assert len(own) == 3
    assert all((DOCS / name).stat().st_size < 20_000 for name in own)
