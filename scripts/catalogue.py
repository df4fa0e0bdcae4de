"""Collect the text of the window and the engine's errors in a gettext template: `make text`.

xgettext does the same, but is not everywhere; what is read here is Python's own syntax tree.
"""

from __future__ import annotations

import ast
import builtins
import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "napari_stylegan3d"
ENGINE = ROOT / "src" / "stylegan3d"
TEMPLATE = PACKAGE / "locale" / "napari_stylegan3d.pot"
#: Arguments that are text, by the name of the function: (context, singular, plural).
FUNCTIONS = {
    "_": (None, 0, None),
    "ngettext": (None, 0, 1),
    "pgettext": (0, 1, None),
}
HEADER = (
    "Project-Id-Version: napari-stylegan3d\n"
    "MIME-Version: 1.0\n"
    "Content-Type: text/plain; charset=UTF-8\n"
    "Content-Transfer-Encoding: 8bit\n"
    "Plural-Forms: nplurals=2; plural=(n != 1);\n"
)

#: Tables of the engine whose values are sentences, as those of its errors are.
TABLES = ("LACKS", "MARKS", "VIEWS", "PICTURES", "SIZES", "TITLES")

#: (context, singular, plural); None for none.
Message = tuple[str | None, str, str | None]


class TextError(Exception):
    """A text cannot be collected: it must stand in the source as it is."""


def messages(source: str, where: str = "") -> Iterator[tuple[Message, int]]:
    """Texts of a Python file with their lines, in the order of the file.

    Raises
    ------
    TextError
        If a text is not a literal.
    """
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name not in FUNCTIONS:
            continue
        found = [None if at is None else _literal(call, at, where) for at in FUNCTIONS[name]]
        context, singular, plural = found
        assert singular is not None
        yield (context, singular, plural), call.lineno


def _literal(call: ast.Call, at: int, where: str) -> str:
    argument = call.args[at] if at < len(call.args) else None
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value
    raise TextError(f"{where}:{call.lineno}: what is translated must be a literal.")


def engine_messages(source: str) -> Iterator[Message]:
    """Sentences of the errors that a file of the engine raises, what is filled in as {1}, {2}, …,
    and those of `TABLES`.

    Those that are put together of other sentences alone are left out.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            if getattr(node.targets[0], "id", "") in TABLES:
                for value in node.value.values:
                    yield "engine", "".join(_parts(value, itertools.count(1))), None
            continue
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict):
            if getattr(node.target, "id", "") in TABLES:
                for value in node.value.values:
                    yield "engine", "".join(_parts(value, itertools.count(1))), None
            continue
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Option":
            choices = [k.value for k in node.keywords if k.arg == "choices"]
            words = [v for c in choices if isinstance(c, ast.Dict) for v in c.values]
            for value in (*node.args[:2], *words):
                yield "engine", "".join(_parts(value, itertools.count(1))), None
            continue
        raised = node.exc if isinstance(node, ast.Raise) else None
        if not isinstance(raised, ast.Call) or not raised.args:
            continue
        name = raised.func.id if isinstance(raised.func, ast.Name) else ""
        if not name.endswith("Error") or name in vars(builtins):
            continue
        text = "".join(_parts(raised.args[0], itertools.count(1)))
        if re.search(r"[a-z]{2} [a-z]", re.sub(r"\{\d+\}", "", text)):
            yield "engine", text, None


def _parts(node: ast.expr, number: Iterator[int]) -> Iterator[str]:
    """A text with places for what is not literal."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value.replace("{", "{{").replace("}", "}}")
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield from _parts(part, number)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _parts(node.left, number)
        yield from _parts(node.right, number)
    else:
        yield f"{{{next(number)}}}"


def template(package: Path = PACKAGE, engine: Path = ENGINE) -> str:
    """The catalogue of all Python files of the window and of the engine's errors, a .pot file."""
    places: dict[Message, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package.parent).as_posix()
        for message, _line in messages(path.read_text(encoding="utf-8"), name):
            # No lines: each edit would change them all.
            known = places.setdefault(message, [])
            if name not in known:
                known.append(name)
    for path in sorted(engine.rglob("*.py")):
        for message in engine_messages(path.read_text(encoding="utf-8")):
            name = path.relative_to(engine.parent).as_posix()
            known = places.setdefault(message, [])
            if name not in known:
                known.append(name)
    parts = [_entry("msgid", "") + _entry("msgstr", HEADER)]
    parts += [_message(message, names) for message, names in places.items()]
    return "\n".join(parts)


def _message(message: Message, names: list[str]) -> str:
    context, singular, plural = message
    text = "".join(f"#: {name}\n" for name in names)
    if "{" in singular:
        text += "#, python-brace-format\n"
    if context is not None:
        text += _entry("msgctxt", context)
    text += _entry("msgid", singular)
    if plural is None:
        return text + _entry("msgstr", "")
    return text + _entry("msgid_plural", plural) + _entry("msgstr[0]", "") + _entry("msgstr[1]", "")


def _entry(keyword: str, text: str) -> str:
    lines = text.splitlines(keepends=True)
    if len(lines) <= 1:
        return f"{keyword} {_quoted(text)}\n"
    return f'{keyword} ""\n' + "".join(f"{_quoted(line)}\n" for line in lines)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def main() -> int:
    """Write the template; returns the exit status."""
    try:
        text = template()
    except TextError as error:
        print(error, file=sys.stderr)
        return 2
    TEMPLATE.parent.mkdir(exist_ok=True)
    TEMPLATE.write_text(text, encoding="utf-8")
    print(f"{text.count('msgid ') - 1} texts in {TEMPLATE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
