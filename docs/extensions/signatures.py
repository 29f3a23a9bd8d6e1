"""Signatures as they stand in the source: shapes and the names of types, not what these are made of."""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from docutils.nodes import Text
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

KINDS = ("class", "exception", "data", "type")  # what a signature names


def signature_of(thing: Callable[..., Any]) -> tuple[str, str | None]:
    """(parameters in brackets, what is returned), as written; for a class what is written in its body or `__init__`."""
    if inspect.isclass(thing):
        return _of_a_class(thing), None
    return _of_a_function(_parsed(thing))


def _of_a_function(found: ast.AST) -> tuple[str, str | None]:
    if not isinstance(found, ast.FunctionDef):
        raise TypeError("no function")
    given = found.args
    if given.args and given.args[0].arg in ("self", "cls"):
        given.args = given.args[1:]
    for each in (*given.posonlyargs, *given.args, *given.kwonlyargs):
        each.annotation = each.annotation and _unquoted(each.annotation)
    returned = found.returns and ast.unparse(_unquoted(found.returns))
    return f"({_double_quoted(ast.unparse(given))})", _double_quoted(returned) if returned else None


def _unquoted(kind: ast.expr) -> ast.expr:
    """A type that is named before it is there stands in quotes, whole."""
    is_text = isinstance(kind, ast.Constant) and isinstance(kind.value, str)
    return ast.parse(str(kind.value), mode="eval").body if is_text else kind


def _of_a_class(thing: type) -> str:
    if getattr(thing, "_is_protocol", False):  # nobody makes one
        return ""
    init = vars(thing).get("__init__") or thing.__init__  # type: ignore[misc]
    with suppress(OSError, TypeError):  # of a dataclass it is written nowhere
        if _is_ours(init):
            return _of_a_function(_parsed(init))[0]
    written = _written_fields(thing)
    parts = []
    for name, given in inspect.signature(thing).parameters.items():
        if name.startswith("_"):
            continue
        kind, default = written.get(name, ("", None))
        starred = {given.VAR_POSITIONAL: "*", given.VAR_KEYWORD: "**"}.get(given.kind, "")
        parts.append(f"{starred}{name}" + (f": {kind}" if kind else "") + (f" = {default}" if default else ""))
    return f"({', '.join(parts)})"


def _written_fields(thing: type) -> dict[str, tuple[str, str | None]]:
    """{field: (its type, its default)} of a class's body and those of the classes it comes from."""
    found: dict[str, tuple[str, str | None]] = {}
    for base in reversed(thing.__mro__[:-1]):
        if not base.__module__.startswith("seamwise"):
            continue
        for part in getattr(_parsed(base), "body", []):
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                kind, default = ast.unparse(_unquoted(part.annotation)), part.value and _default(part.value)
                found[part.target.id] = (_double_quoted(kind), _double_quoted(default) if default else None)
    return found


def _default(value: ast.expr) -> str:
    """`field(default_factory=dict)` as `dict()`."""
    if isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in ("field", "Field"):
        given = {word.arg: word.value for word in value.keywords}
        if "default_factory" in given:
            return f"{ast.unparse(given['default_factory'])}()"
        return ast.unparse(given["default"]) if "default" in given else ""
    return ast.unparse(value)


def _parsed(thing: Any) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(thing)))).body[0]


def _is_ours(thing: Any) -> bool:
    return (getattr(thing, "__module__", None) or "").startswith("seamwise")


def _double_quoted(text: str) -> str:
    return text if '"' in text else text.replace("'", '"')


def _process(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None] | None:
    if what not in ("function", "method", "class", "exception") or not _is_ours(thing):
        return None
    try:
        return signature_of(thing)
    except (OSError, TypeError, ValueError):  # without a source of its own
        return None


def _as_written(app: Sphinx, doctree: Any) -> None:
    """What Sphinx writes in its own way: quotes, and numpy's arrays in the types of properties."""
    for signature in doctree.findall(addnodes.desc_signature):
        for text in [*signature.findall(Text)]:
            as_written = re.sub(r"^'(.*)'$", r'"\1"', text.astext()).replace("ndarray", "NDArray")
            if as_written != text.astext():
                text.parent.replace(text, Text(as_written))
        for named in signature.findall(addnodes.pending_xref):
            named.attributes.pop("refspecific", None)
            named["reftarget"] = _full_name(signature, named["reftarget"])


def _full_name(signature: addnodes.desc_signature, name: str) -> str:
    """Of a type that a signature names, as the module in which the signature is written knows it."""
    described = getattr(import_module(signature["module"]), signature["fullname"].partition(".")[0], None)
    home = sys.modules.get(getattr(described, "__module__", ""))
    thing = getattr(home, name, None)
    return f"{thing.__module__}.{thing.__qualname__}" if isinstance(thing, type) else name


def _by_its_last_name(app: Sphinx, env: Any, node: addnodes.pending_xref, shown: Any) -> Any:
    """A type that a signature names leads to where it is described; one that is described nowhere is plain text."""
    if node.get("refdomain") != "py" or not (_is_in_a_signature(node) or not node["reftarget"].startswith("seamwise")):
        return None
    objects, last = env.get_domain("py").objects, node["reftarget"].rpartition(".")[2]
    found = {
        (entry.docname, entry.node_id)
        for name, entry in objects.items()
        if name.rpartition(".")[2] == last and entry.objtype in KINDS
    }
    if len(found) != 1:
        return shown
    (docname, node_id) = found.pop()
    return make_refnode(app.builder, node["refdoc"], docname, node_id, [shown], last)


def _is_in_a_signature(node: Any) -> bool:
    while node is not None and not isinstance(node, addnodes.desc_signature):
        node = node.parent
    return node is not None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", _process)
    app.connect("doctree-read", _as_written)
    app.connect("missing-reference", _by_its_last_name)
    return {"parallel_read_safe": True}
