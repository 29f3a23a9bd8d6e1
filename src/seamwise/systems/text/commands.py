"""What a person runs of the parser: `seamwise train text --data`, `predict text` and `eval text --data`."""

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import BufferedReader, TextIOWrapper
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from seamwise.errors import InputError, ModelError, StorageError
from seamwise.files import check_file, readable
from seamwise.steps import Steps, clock
from seamwise.systems.text.conllu import read_conllu, write_header, write_sentence
from seamwise.systems.text.ladder import climb
from seamwise.systems.text.raw import WHITE, rebuilt
from seamwise.systems.text.sentence import Sentence, Word
from seamwise.systems.text.show import tree_text
from seamwise.systems.text.stream import Parses, Text, parsed, parsed_lines

STDIN = Path("-")
PASSES = 20

_options: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}
_train, _predict, _eval = typer.Typer(**_options), typer.Typer(**_options), typer.Typer(**_options)
apps = {"train": _train, "predict": _predict, "eval": _eval}

ModelFolder = Annotated[Path, typer.Option("--model", help="A folder that `seamwise train text --data` wrote.")]
Strip = Annotated[bool, typer.Option("--strip-spaces", help="Take white space out: words are to be found without it.")]
Threads = Annotated[int, typer.Option(min=1, help="Of the processor; more help only where its cores are idle.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@_train.command()
def train(
    data: Annotated[Path, typer.Option(metavar="TRAIN", help="Treebank: CoNLL-U, or CoNLL-U Plus, with roles if any.")],
    out: Annotated[Path, typer.Option(help="Model folder to write.")],
    dev: Annotated[
        Path | None, typer.Option(metavar="DEV", help="Treebank to choose the weights by; without it, a part of TRAIN.")
    ] = None,
    regime: Annotated[str, typer.Option(help="independent, sequential, tuned, joint, endtoend or direct.")] = "joint",
    variant: Annotated[
        str | None,
        typer.Option(
            help="Of the chain (shared, soft, hard, hard_words, hard_tags, hard_heads), or of direct (direct, larger)."
        ),
    ] = None,
    passes: Annotated[int, typer.Option(min=1, help="Over the treebank, at most.")] = PASSES,
    strip_spaces: Strip = False,
    seed: Annotated[int, typer.Option(help="Of the start and the order.")] = 0,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Train a parser on a treebank of any language: text to sentences, words, tags, trees, and roles if it has some.

    Without --data, it is trained on the generated language: seamwise train --help

    Example: seamwise train text --data train.conllu --dev dev.conllu --out model/
    """
    from seamwise.model import check_model_place
    from seamwise.progress import TrainingProgress

    for path in (data, dev or data):
        check_file(path, "treebank", "a CoNLL-U file")
    check_model_place(out)
    start = time.monotonic()
    _use_threads(threads)
    from seamwise.systems.text.make import train_parser

    with TrainingProgress() as progress, redirect_stdout(sys.stderr):
        parser = train_parser(
            data,
            dev,
            regime=regime,
            variant=variant,
            passes=passes,
            strip_spaces=strip_spaces,
            seed=seed,
            watch=progress.at,
        )
    parser.save(out)
    seconds = time.monotonic() - start
    if as_json:
        told = {"model": str(out), "seconds": round(seconds, 1), "roles": parser.has_roles} | dict(parser.about)
        print(json.dumps(told))
        return
    print(f"{out}: a parser{' that labels roles' if parser.has_roles else ''}; {clock(seconds)}")
    if parser.about.get("left_out"):
        print(f"{parser.about['left_out']:,} sentences were left out: too long, or without tags and heads")
    print(f"try it: seamwise predict text --model {out} --show")


@_predict.command()
def predict(
    model: ModelFolder,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Raw text in UTF-8; standard input by default.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Draw the trees.")] = False,
    roles: Annotated[bool, typer.Option("--roles", help="Write CoNLL-U Plus: also predicates and arguments.")] = False,
    lines: Annotated[bool, typer.Option("--lines", help="Each line of the text is a sentence.")] = False,
    words: Annotated[bool, typer.Option("--words", help="The same, and words have white space between them.")] = False,
    threads: Threads = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON a sentence.")] = False,
) -> None:
    """Parse raw text: CoNLL-U comes out, a paragraph once an empty line ends it, its last sentence once text follows.

    The white space is kept (SpaceAfter, SpacesAfter, SpacesBefore): the text can be rebuilt. A file that cannot be read
    is named, and the others go on.

    Example: seamwise predict text --model model/ < raw.txt > out.conllu
    """
    if as_json and (show or roles):
        raise InputError("--json with --show or --roles", expected="one of them; JSON has the roles that are known")
    with redirect_stdout(sys.stderr):
        parser = _parser(model, threads)
    if roles and not parser.has_roles:
        remedy = "train on a treebank that has the columns UP:PRED and UP:ARGHEADS, or leave --roles out"
        raise ModelError(f"--roles: {model} labels none", remedy=remedy)
    given = "words" if words else "sentences" if lines else ""
    write = _drawn if show else _json_line if as_json else _with_roles if roles else _block
    if not show and isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(
            encoding="utf-8", newline="\n", errors="backslashreplace"
        )  # as the format wants it, whatever the terminal's is
    n_failed, numbers = 0, count(1)
    with Steps("sentences") as steps:
        for path in files or [STDIN]:
            try:
                for sentence, at in _sentences(parser, path, given):
                    number = next(numbers)
                    _say(write(replace(sentence, name=str(number)), at))
                    if not sys.stdout.isatty():
                        steps.at(number, None)
            except InputError as error:
                print(f"error: {error}", file=sys.stderr)
                n_failed += 1
    if n_failed:
        raise typer.Exit(2)


@_eval.command(name="eval")
def evaluate(
    model: ModelFolder,
    data: Annotated[
        list[Path], typer.Option("--data", metavar="FILE", help="Treebank: CoNLL-U or CoNLL-U Plus; repeatable.")
    ],
    strip_spaces: Strip = False,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Score a parser on a treebank from its raw text, by the official scorer; then with the gold answer of each stage.

    F1 in percent. Predicates and roles are scored too where the treebank and the model have them. Without --data, the
    model is scored on the generated language: seamwise eval --help

    Example: seamwise eval text --model model/ --data dev.conllu --json
    """
    gold = [sentence for path in data for sentence in _opening(read_conllu(path))]
    with redirect_stdout(sys.stderr), Steps("sentences, each once a row") as steps:
        ladder = climb(_parser(model, threads), gold, steps.at, strip_spaces=strip_spaces)
    if as_json:
        print(json.dumps(ladder.flat()))
        return
    Console().print(ladder.table())
    print("\n".join(ladder.told()))


def _parser(folder: Path, n_threads: int) -> Parses:
    _use_threads(n_threads)
    from seamwise.systems.text.parser import Parser

    return Parser.load(folder)


def _use_threads(n: int) -> None:
    import torch  # takes seconds

    torch.set_num_threads(n)


def _sentences(parser: Parses, path: Path, given: str) -> Iterator[tuple[Sentence, int]]:
    """A text's sentences as they come, and where in it each begins. Raises InputError where it can be read no more."""
    name = "standard input" if path == STDIN else str(path)
    with _opened(path) as file:
        text = Text(file, name)
        at = 0
        for sentence in parsed_lines(parser, text, given) if given else parsed(parser, text):
            yield (sentence if path == STDIN else replace(sentence, document=name)), at
            at += len(rebuilt([sentence]))
    if text.error is not None:
        raise text.error


def _opened(path: Path) -> BufferedReader:
    """A file, or standard input. Raises InputError."""
    if path != STDIN:
        with readable(path):
            return path.open("rb")
    if sys.stdin is None:
        raise InputError("standard input is closed: there is no text", remedy="give FILE, or < raw.txt")
    if sys.stdin.isatty():
        print("type text, an empty line behind each paragraph; Ctrl-D ends", file=sys.stderr)
    return open(sys.stdin.fileno(), "rb", closefd=False)


def _say(text: str) -> None:
    """Print, at once. Raises StorageError; a pipe that was closed ends the command silently."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        what, given = "standard output cannot be written", error.strerror or str(error)
        raise StorageError(what, given=given, remedy="free space, or write elsewhere") from error


def _opening(sentences: Sequence[Sentence]) -> list[Sentence]:
    """Those of a file, the first of which opens."""
    return [replace(sentence, opens=sentence.opens or not k) for k, sentence in enumerate(sentences)]


def _block(sentence: Sentence, at: int, roles: bool = False) -> str:
    begins = "" if at or not sentence.document else f"# newdoc id = {WHITE.sub(' ', sentence.document)}\n"
    return begins + write_sentence(sentence, roles)


def _with_roles(sentence: Sentence, at: int) -> str:
    return (write_header(roles=True) if sentence.name == "1" else "") + _block(sentence, at, roles=True)


def _drawn(sentence: Sentence, at: int) -> str:
    width = shutil.get_terminal_size().columns
    return tree_text(sentence, width, colour=sys.stdout.isatty()) + "\n"


def _json_line(sentence: Sentence, at: int) -> str:
    return json.dumps(record(sentence, at), ensure_ascii=False) + "\n"


def record(sentence: Sentence, at: int) -> dict[str, Any]:
    """A sentence as `--json` tells it; `at`: how many characters of the text are before it.

    before + text + after, one behind the other, are the text that was parsed; start and end count its characters.
    Columns have the names of CoNLL-U; words count from 1, head 0 is the root. `words` of a token: the first, the last.
    """
    n_words, tokens = 0, []
    before, after = sentence.tokens[0].before, sentence.tokens[-1].after
    for token in sentence.tokens:
        at += len(token.before)
        place = {"start": at, "end": at + len(token.form), "words": [n_words + 1, n_words + token.n_words]}
        tokens.append({"form": token.form, **place})
        at, n_words = at + len(token.form) + len(token.after), n_words + token.n_words
    words = [_word(k, word) for k, word in enumerate(sentence.words, start=1)]
    text = sentence.text[len(before) :]
    told = {"sent_id": sentence.name, "before": before, "text": text, "after": after, "tokens": tokens, "words": words}
    return {"file": sentence.document, **told} if sentence.document else told


def _word(place: int, word: Word) -> dict[str, Any]:
    told = {"id": place, "form": word.form, "upos": word.tag, "head": word.head, "deprel": word.relation}
    if not word.predicate:
        return told
    arguments = [{"word": argument, "role": role} for argument, role in word.arguments]
    return {**told, "predicate": word.predicate, "arguments": arguments}
