"""A trained parser beside UDPipe 1, which is trained here, on the same treebank: raw text in, the official scores out.

UDPipe learns as its authors had it learn for Chinese in UD 2.0, on one core, for hours: 100 epochs of its tokenizer, 30
iterations of its parser. Differs: no lemmas, and no word vectors from elsewhere. --quick takes minutes, for a look.
Both are timed on the whole text, without reading files or models: a model of ours is told to use one thread, as UDPipe
does. With --held-out, UDPipe keeps its best iteration on that treebank; without, its last.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import ufal.udpipe as udpipe

from seamwise.errors import InputError
from seamwise.systems.text.conllu import read_conllu, sentences_of, write_sentence
from seamwise.systems.text.data import stripped
from seamwise.systems.text.parser import Parser
from seamwise.systems.text.raw import raw_text
from seamwise.systems.text.scoring import scores
from seamwise.systems.text.sentence import Sentence
from seamwise.systems.text.stream import parsed

OURS, UDPIPE = "seamwise", "UDPipe 1"
METRICS = ("sentences", "words", "upos", "uas", "las")
PARTS = ("tokenizer", "tagger", "parser")
TAGGER = "models=1;templates=tagger;guesser_suffix_rules=12;guesser_enrich_dictionary=5;use_lemma=0;provide_lemma=0"
FULL = {
    "tokenizer": "dimension=64;epochs=100;batch_size=50;learning_rate=0.002;dropout=0.3",
    "tagger": TAGGER,
    "parser": "iterations=30;learning_rate=0.02;l2=0.3;hidden_layer=200;batch_size=10;"
    "transition_system=projective;transition_oracle=dynamic;structured_interval=8",
}
QUICK = {
    "tokenizer": "dimension=64;epochs=3;batch_size=50;learning_rate=0.005;dropout=0.1",
    "tagger": f"{TAGGER};iterations=4",
    "parser": "iterations=2;hidden_layer=60;structured_interval=0;transition_oracle=static",
}

Parse = Callable[[str], tuple[list[Sentence], float]]  # a text -> its sentences, and the seconds that took


def treebank(path: Path | None, strips: bool, most: int | None = None) -> list[Sentence]:
    """So many sentences of a file, without the spaces between their tokens where the model was made for that."""
    sentences = [] if path is None else read_conllu(path)[:most]
    return [stripped(sentence) for sentence in sentences] if strips else sentences


def as_udpipe_has_it(sentences: Sequence[Sentence]) -> udpipe.Sentences:
    """The same sentences, in ten columns."""
    reader, error = udpipe.InputFormat.newConlluInputFormat(), udpipe.ProcessingError()
    reader.setText("".join(map(write_sentence, sentences)))
    given, sentence = udpipe.Sentences(), udpipe.Sentence()
    while reader.nextSentence(sentence, error):
        given.append(sentence)
        sentence = udpipe.Sentence()
    check(error)
    return given


def check(error: udpipe.ProcessingError) -> None:
    if error.occurred():
        raise InputError(f"UDPipe: {error.message}", remedy="see the options in the manual of UDPipe 1")


def train(learned: Sequence[Sentence], held_out: Sequence[Sentence], options: dict[str, str], out: Path) -> float:
    """UDPipe's model in a file, and the seconds that it took. It tells its progress on stderr."""
    error, both = udpipe.ProcessingError(), [as_udpipe_has_it(part) for part in (learned, held_out)]
    start = time.perf_counter()
    model = udpipe.Trainer.train("morphodita_parsito", *both, *(options[part] for part in PARTS), error)
    seconds = time.perf_counter() - start
    check(error)
    out.write_bytes(model)
    return seconds


def by_udpipe(path: Path) -> Parse:
    """UDPipe with a model file."""
    model = udpipe.Model.load(str(path))
    if model is None:
        raise InputError(f"{path}: no model of UDPipe 1", remedy="leave the file out: it is written then")
    default = udpipe.Pipeline.DEFAULT

    def parse(text: str) -> tuple[list[Sentence], float]:
        pipeline = udpipe.Pipeline(model, "tokenize", default, default, "conllu")  # it does not keep the model alive
        error, start = udpipe.ProcessingError(), time.perf_counter()
        told = pipeline.process(text, error)
        seconds = time.perf_counter() - start
        check(error)
        return list(sentences_of(told.splitlines(keepends=True), UDPIPE)), seconds

    return parse


def by_us(parser: Parser) -> Parse:
    def parse(text: str) -> tuple[list[Sentence], float]:
        start = time.perf_counter()
        told = list(parsed(parser, [text]))
        return told, time.perf_counter() - start

    return parse


def measured(parse: Parse, gold: Sequence[Sentence]) -> dict[str, float]:
    """Scores from raw text, and gold words a second."""
    predicted, seconds = parse(raw_text(gold))
    told = scores(gold, predicted)
    speed = sum(len(sentence.words) for sentence in gold) / seconds
    return {metric: told[metric] for metric in METRICS if metric in told} | {"words_per_second": speed}


def ratios(told: dict[str, dict[str, float]]) -> dict[str, float]:
    """Our errors, and our speed, in UDPipe's."""
    ours, other = told[OURS], told[UDPIPE]
    errors = {
        metric: (100 - ours[metric]) / (100 - other[metric]) for metric in METRICS if other.get(metric, 100) < 100
    }
    return errors | {"words_per_second": ours["words_per_second"] / other["words_per_second"]}


def tell(told: dict[str, dict[str, float]]) -> None:
    """The table, then how we stand beside UDPipe."""
    print(f"\n{'':<12}" + "".join(f"{metric:>11}" for metric in METRICS) + f"{'words a second':>17}{'training':>12}")
    for name, row in told.items():
        cells = "".join(f"{row[metric]:>11.2f}" if metric in row else f"{'-':>11}" for metric in METRICS)
        seconds = f"{row['train_seconds']:,.0f} s" if "train_seconds" in row else "-"
        print(f"{name:<12}{cells}{row['words_per_second']:>17,.0f}{seconds:>12}")
    if OURS in told:
        for metric, ratio in ratios(told).items():
            what = "words a second" if metric == "words_per_second" else f"errors of {metric}"
            print(f"{OURS} / {UDPIPE}: {what} x {ratio:.2f}")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--train", type=Path, help="the treebank that UDPipe learns from, as --model did")
    asked.add_argument("--held-out", type=Path, help="a treebank by which UDPipe picks its iterations")
    asked.add_argument("--data", type=Path, required=True, help="the treebank that both are scored on")
    asked.add_argument("--model", type=Path, help="a model folder of `seamwise train text`; without, UDPipe alone")
    asked.add_argument("--udpipe", type=Path, metavar="FILE", help="its model: read where it is there, else written")
    asked.add_argument("--quick", action="store_true", help="minutes in the place of hours, and a worse UDPipe")
    asked.add_argument("--most", type=int, metavar="N", help="learn from the first N sentences alone")
    for part in PARTS:
        asked.add_argument(f"--{part}", metavar="OPTIONS", help=f"of UDPipe's {part}, as its manual has them")
    asked.add_argument("--threads", type=int, default=1, help="for torch")
    asked.add_argument("--json", action="store_true", help="print JSON, last")
    options = asked.parse_args()
    if options.train is None and not (options.udpipe and options.udpipe.exists()):
        asked.error("give --train, or --udpipe with a file that is there")
    torch.set_num_threads(options.threads)
    parser = None if options.model is None else Parser.load(options.model)
    strips = parser is not None and parser.strips_spaces
    gold, rows = treebank(options.data, strips), {}
    if parser is not None:
        seconds = parser.about.get("seconds")
        rows[OURS] = measured(by_us(parser), gold) | ({"train_seconds": seconds} if seconds else {})
    chosen = {part: getattr(options, part) or (QUICK if options.quick else FULL)[part] for part in PARTS}
    with tempfile.TemporaryDirectory() as folder:
        path = options.udpipe or Path(folder) / "trained.udpipe"
        if path.exists():
            print(f"{UDPIPE} is read from {path}: nothing is trained")
            chosen, trained = {}, {}
        else:
            learned, held_out = treebank(options.train, strips, options.most), treebank(options.held_out, strips)
            trained = {"train_seconds": train(learned, held_out, chosen, path)}
        rows[UDPIPE] = measured(by_udpipe(path), gold) | trained
    tell(rows)
    if options.json:
        compared = ratios(rows) if OURS in rows else {}
        print(json.dumps({"threads": options.threads, "udpipe": chosen, "scores": rows, "ratios": compared}))


if __name__ == "__main__":
    main()
