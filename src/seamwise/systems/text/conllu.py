"""CoNLL-U and CoNLL-U Plus: treebanks in, sentences out, and back.

Kept are words with all their columns, tokens with their white space, and the roles of Universal Propositions (UP:PRED,
UP:ARGHEADS). Left out are empty nodes, UP:ARGSPANS, other columns of CoNLL-U Plus, what a range line has beside its
form and white space, and comments that are not `sent_id`, `newdoc` and `newpar`.

Source: https://universaldependencies.org/format.html and /ext-format.html; white space as UDPipe writes it to MISC.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from seamwise.errors import InputError
from seamwise.files import check_file, readable
from seamwise.systems.text.raw import VISIBLE, WHITE, escaped, unescaped
from seamwise.systems.text.rows import COLUMNS, HEADER, ROLE_COLUMNS, Row, blocks, refused_line
from seamwise.systems.text.sentence import ROOT, Sentence, Token, Word

UNKNOWN_SENSE = "XX"  # what UP:PRED has of a predicate whose sense is not known, as "_" says that there is none

_LONGEST_DOCUMENT = 1000  # more sentences whose names are alike are a part of a treebank, not a document
_WORD: Final = re.compile(r"[1-9][0-9]{0,8}")
_RANGE: Final = re.compile(r"([1-9][0-9]{0,8})-([1-9][0-9]{0,8})")
_EMPTY_NODE: Final = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}")
_HEAD: Final = re.compile(r"[0-9]{1,9}")
_ARGUMENT: Final = re.compile(r"([^|:\s]+):([0-9]{1,9})")
_ILL_FORM: Final = re.compile(r"^\s|\s$|[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_Ranges = dict[int, tuple[int, Row]]
_SPACES = ("SpaceAfter", "SpacesAfter", "SpacesBefore", "SpacesInToken")


def read_conllu(path: Path) -> list[Sentence]:
    """All sentences of a treebank, each with its document: that of `# newdoc`, or else what names have in common.

    Raises InputError with file and line where it is no UTF-8, where lines are no CoNLL-U, or trees no trees.
    """
    check_file(path, "treebank", "a CoNLL-U or CoNLL-U Plus file")
    sentences = list(sentences_of(_lines(path), str(path)))
    if not sentences:
        expected = "lines of ten columns, an empty line behind each sentence"
        raise InputError(f"{path}: no sentence", expected=expected, remedy="check whether it is the right file")
    return _with_documents(sentences, str(path))


def _lines(path: Path) -> Iterator[str]:
    with readable(path), path.open("rb") as file:
        for n, line in enumerate(file, start=1):
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                given = f"0x{line[error.start]:02x}, byte {error.start + 1} of the line"
                remedy = "save the file as UTF-8, for example with iconv"
                raise refused_line(str(path), n, "not UTF-8", given, "text in UTF-8", remedy) from None


def sentences_of(lines: Iterable[str], name: str) -> Iterator[Sentence]:
    """Sentences one by one; `document` is that of `# newdoc`, empty where there is none. `name` is for errors.

    Raises InputError as `read_conllu` does.
    """
    document = ""
    for line, comments, rows in blocks(lines, name):
        for key in ("newdoc", "newdoc id"):
            document = comments[key] or f"{name}:{line}" if key in comments else document
        opens = any(key.startswith(("newdoc", "newpar")) for key in comments)
        words, ranges = _words_and_ranges(rows)
        tokens = tuple(_tokens(words, ranges))
        found = tuple(map(_word, words, _heads(words), [len(words)] * len(words)))
        yield Sentence(found, tokens, comments.get("sent_id", ""), document, line, opens)


def _words_and_ranges(rows: Sequence[Row]) -> tuple[list[Row], _Ranges]:
    """The rows of words; and by first word the last word and the row of each multiword token."""
    words, ranges, covered = list[Row](), _Ranges(), 0
    for row in rows:
        if found := _RANGE.fullmatch(row.columns["ID"]):
            _check_range(row, int(found[1]), int(found[2]), len(words) + 1, covered)
            covered = int(found[2])
            ranges[len(words) + 1] = covered, row
        elif row.columns["ID"] == str(len(words) + 1):
            words.append(row)
        elif not _EMPTY_NODE.fullmatch(row.columns["ID"]):
            what = "ID out of order" if _WORD.fullmatch(row.columns["ID"]) else "an ID that is none"
            remedy = "count words from 1; an empty line stands behind each sentence"
            raise row.refused(what, row.columns["ID"], str(len(words) + 1), remedy)
    if not words:
        raise rows[0].refused("a sentence without words", rows[0].columns["ID"], "words", "take it out")
    if covered > len(words):
        expected, row = f"words up to {len(words)}, the last of the sentence", list(ranges.values())[-1][1]
        raise row.refused("a range that points outside of the sentence", row.columns["ID"], expected, "mend the range")
    return words, ranges


def _check_range(row: Row, first: int, last: int, position: int, covered: int) -> None:
    if first != position or last < first or first <= covered:
        what, expected = "a range of words out of place", f"{max(covered + 1, position)}-N"
        remedy = "put it before its first word; ranges may not overlap"
        raise row.refused(what, row.columns["ID"], expected, remedy)


def _tokens(words: Sequence[Row], ranges: _Ranges) -> Iterator[Token]:
    position = 1
    while position <= len(words):
        last, row = ranges.get(position, (position, words[position - 1]))
        yield _token(row, last - position + 1)
        position = last + 1


def _token(row: Row, n_words: int) -> Token:
    form = _form(row)
    if "Space" not in row.columns["MISC"]:
        return Token(form, n_words)
    spaces = _divided(row.columns["MISC"])[1]
    after = "" if spaces.get("SpaceAfter") == "No" else " "
    after, before = _white(spaces.get("SpacesAfter"), after), _white(spaces.get("SpacesBefore"), "")
    whole = unescaped(spaces.get("SpacesInToken", form))
    return Token(whole if WHITE.sub("", whole) == WHITE.sub("", form) else form, n_words, after, before)


def _white(value: str | None, default: str) -> str:
    """What is white space in fact, else the default."""
    space = default if value is None else unescaped(value)
    return default if VISIBLE.search(space) else space


def _divided(misc: str) -> tuple[str, dict[str, str]]:
    """MISC without what it says of white space, and that."""
    if "Space" not in misc:
        return misc, {}
    pairs = [(part, part.partition("=")) for part in misc.split("|")]
    rest = "|".join(part for part, (key, _, _) in pairs if key not in _SPACES)
    return rest or "_", {key: value for _, (key, _, value) in pairs if key in _SPACES}


def _form(row: Row) -> str:
    """FORM: spaces inside are fine, Vietnamese has them."""
    form = row.columns["FORM"]
    if not form or _ILL_FORM.search(form):
        expected = "a form without control characters, no white space before or behind"
        raise row.refused("a FORM that cannot be read", repr(form), expected, "mend the form")
    return form


def _word(row: Row, head: int, n: int) -> Word:
    columns = row.columns
    arguments = tuple(_arguments(row, n))
    sense = "" if columns["UP:PRED"] == "_" else columns["UP:PRED"]
    predicate = "_" if sense == UNKNOWN_SENSE or (arguments and not sense) else sense
    own = columns["LEMMA"], columns["XPOS"], columns["FEATS"], columns["DEPS"], _divided(columns["MISC"])[0]
    return Word(_form(row), columns["UPOS"], head, columns["DEPREL"], *own, predicate, arguments)


def _arguments(row: Row, n: int) -> Iterator[tuple[int, str]]:
    for argument in row.columns["UP:ARGHEADS"].split("|") if row.columns["UP:ARGHEADS"] != "_" else ():
        found = _ARGUMENT.fullmatch(argument)
        if not found:
            given, expected = row.columns["UP:ARGHEADS"], "like ARG0:3|ARG1:7"
            raise row.refused("arguments that cannot be read", given, expected, "mend UP:ARGHEADS")
        if not 1 <= int(found[2]) <= n:
            raise row.refused("an argument that is no word", argument, f"a word from 1 to {n}", "mend UP:ARGHEADS")
        yield int(found[2]), found[1]


def _heads(words: Sequence[Row]) -> list[int]:
    """The head of each word; -1 for all where no word has one."""
    if all(row.columns["HEAD"] == "_" for row in words):
        return [-1] * len(words)
    heads = list[int]()
    for position, row in enumerate(words, start=1):
        known = _HEAD.fullmatch(row.columns["HEAD"]) and int(row.columns["HEAD"]) <= len(words)
        if not known or int(row.columns["HEAD"]) == position:
            what = "a word that depends on itself" if known else "a head that is no word"
            expected = f"another word from 1 to {len(words)}, or 0 for the root"
            raise row.refused(what, f"word {position}, HEAD {row.columns['HEAD']}", expected, "mend HEAD")
        heads.append(int(row.columns["HEAD"]))
    _check_tree(words, heads)
    return heads


def _check_tree(words: Sequence[Row], heads: Sequence[int]) -> None:
    roots = [position for position, head in enumerate(heads, start=1) if head == ROOT]
    if len(roots) != 1:
        row, what, given = words[0], "no root", "a sentence without HEAD 0"
        if roots:
            row, what, given = words[roots[1] - 1], "two roots", f"words {roots[0]} and {roots[1]}"
        raise row.refused(what, given, "one word of a sentence whose HEAD is 0", "mend HEAD")
    if cycle := _cycle(heads):
        given = " -> ".join(map(str, (*cycle, cycle[0])))
        raise words[cycle[0] - 1].refused("heads that go round", given, "a tree: heads lead to the root", "mend HEAD")


def _cycle(heads: Sequence[int]) -> list[int]:
    """Words whose heads lead round, from the first that is found; none in a tree."""
    leads = {ROOT}
    for start in range(1, len(heads) + 1):
        path = dict[int, None]()
        at = start
        while at not in leads and at not in path:
            path[at] = None
            at = heads[at - 1]
        if at in path:
            return list(path)[list(path).index(at) :]
        leads |= path.keys()
    return []


def _with_documents(sentences: Sequence[Sentence], name: str) -> list[Sentence]:
    """Each sentence with its document, and whether it opens one.

    Where there is no `# newdoc`, a document is what shares a name but for the number at its end ("weblog-7-0001").
    Where all names are alike ("train-s1"), or more of them than a document has, or there is no number, each sentence
    is one of its own: then nothing is known of where documents begin.
    """
    alone = [f"{name}:{s.line}" for s in sentences]
    if any(s.document for s in sentences):
        return [replace(s, document=s.document or own) for s, own in zip(sentences, alone, strict=True)]
    shared = _shared_stems([_stem(s.name) for s in sentences])
    opens = [s.opens or stem != last for s, stem, last in zip(sentences, shared, ["", *shared[:-1]], strict=True)]
    documents = [stem or own for stem, own in zip(shared, alone, strict=True)]
    return [replace(s, document=d, opens=o) for s, d, o in zip(sentences, documents, opens, strict=True)]


def _shared_stems(stems: Sequence[str]) -> list[str]:
    """The stems that name documents; empty in place of others."""
    count = Counter(stems)
    known = {stem for stem, n in count.items() if n <= _LONGEST_DOCUMENT} if len(count) > 1 else set[str]()
    known = known if any(count[stem] > 1 for stem in known if stem) else set()
    return [stem if stem in known else "" for stem in stems]


def _stem(name: str) -> str:
    """A name but for the number at its end; empty where it ends in none."""
    stem = name.rstrip("0123456789")
    return stem.rstrip("-_.:/ ") if stem != name else ""


def write_header(roles: bool) -> str:
    """The first line of a file: none, or with roles that of CoNLL-U Plus."""
    return f"# {HEADER} = {' '.join(COLUMNS + ROLE_COLUMNS)}\n" if roles else ""


def write_sentence(sentence: Sentence, roles: bool = False) -> str:
    """The lines of a sentence and the empty line behind it; with roles, those columns too (see `write_header`)."""
    tokens = [(_plain(token.form), token.after) for token in sentence.tokens]
    text = "".join(form + (" " if after else "") for form, after in tokens)
    comments = ["# newpar"] if sentence.opens else []
    comments += [f"# sent_id = {sentence.name}"] if sentence.name else []
    return "\n".join([*comments, f"# text = {text.rstrip()}", *_rows(sentence, roles), "", ""])


def _rows(sentence: Sentence, roles: bool) -> Iterator[str]:
    first = 1
    for token in sentence.tokens:
        words = sentence.words[first - 1 : first - 1 + token.n_words]
        form, space = _plain(token.form), _space(token)
        if len(words) > 1 or form != _plain(words[0].form):
            row = [f"{first}-{first + len(words) - 1}", form, *["_"] * 7, space or "_"]
            yield "\t".join(row + ["_"] * len(ROLE_COLUMNS) * roles)
            space = ""
        for position, word in enumerate(words, start=first):
            yield "\t".join([str(position), *_columns_of(word, space), *(_role_columns(word) if roles else ())])
        first += len(words)


def _columns_of(word: Word, space: str) -> list[str]:
    head = "_" if word.head < 0 else str(word.head)
    misc = "|".join(part for part in (word.misc, space) if part not in ("", "_")) or "_"
    known = [word.lemma, word.tag, word.xpos, word.features, head, word.relation, word.enhanced, misc]
    return [_plain(word.form), *known]


def _role_columns(word: Word) -> list[str]:
    arguments = "|".join(f"{role}:{position}" for position, role in word.arguments)
    return [UNKNOWN_SENSE if word.predicate == "_" else word.predicate or "_", arguments or "_"]


def _plain(form: str) -> str:
    """A form as a column can hold it."""
    return (WHITE.sub(" ", form).strip() if _ILL_FORM.search(form) else form) or "_"


def _space(token: Token) -> str:
    """What MISC says of the white space of a token; nothing where there is one space behind it."""
    after = {"": "SpaceAfter=No", " ": ""}.get(token.after, f"SpacesAfter={escaped(token.after)}")
    before = token.before and f"SpacesBefore={escaped(token.before)}"
    inside = f"SpacesInToken={escaped(token.form)}" if token.form != _plain(token.form) else ""
    return "|".join(part for part in (after, before, inside) if part)
