"""All words of the window go through the catalogue, and a catalogue changes what it says."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import string
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from napari_stylegan3d.core import messages as notify
from napari_stylegan3d.widgets import text

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "napari_stylegan3d"
#: Programs for the command line, what napari reads, and files without words for people, such as the
#: shaders of `turning`.
LEFT_OUT = re.compile(
    r"__main__|window|qt_binding|tour\w*|virtual_screen|theme|reader|calm|autosave|text|docked|turning"
)
#: Functions whose arguments are for programs.
FOR_PROGRAMS = {
    *("setObjectName", "setProperty", "setStyleSheet", "getattr", "hasattr", "setattr", "find"),
    *("findChild", "property", "startswith", "endswith", "removeprefix", "removesuffix"),
    *("replace", "split", "rsplit", "partition", "rpartition", "strip", "connect", "getLogger"),
    *("debug", "info", "warning", "error", "exception", "Path", "QColor", "QKeySequence"),
    *("Colormap", "Literal", "cast", "compile", "match", "fullmatch", "search", "sub"),
    *("with_name", "with_suffix", "glob", "value", "setValue", "bind_key", "_press", "panel"),
    *("get", "pop", "AssertionError", "ValueError", "TypeError", "KeyError"),
}
TRANSLATED = {"_", "ngettext", "pgettext"}
#: Names of controls, properties and keys (and so any single word in small letters), notation that
#: is the same in all languages, and what files say of themselves.
NOT_WORDS = re.compile(
    r"[a-z0-9_.+*/:#{}-]*|#[0-9a-fA-F]+|.*\{ .*|[RLAPSI]{2,3}|LPI|"
    r"(Ctrl|Alt|Control|Shift)(\+|-)?[-\w+ …{}]*|Pg(Up|Down)|Space|GIF|WebP|MP4|PNG|SSIM|PSNR|"
    r"FreeSurfer|NIfTI|DICOM, ITK|Check:|Description|Recipes|Picture of a real scan\.|"
    r"Saved from napari\.|Favourites?|Del",
    re.DOTALL,
)
KEYS = {"Browse", "Project", "Mix", "Directions", "Compare", "Export"} | {
    "Axial",
    "Sagittal",
    "Coronal",
    *("setValue", "valueChanged"),  # of Qt, by which magicgui finds them
}
#: Roles of widgets in the style sheet stand for arguments of our own functions.
ROLES = {"primary", "segment", "hint", "error", "heading"}


def sources() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not LEFT_OUT.fullmatch(path.stem)]


def strings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Literals that are neither documentation nor for programs, with their lines."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring, or one of an attribute
        if isinstance(node, ast.Compare | ast.Subscript | ast.arg):
            continue
        if isinstance(node, ast.Call):
            function = node.func
            name = getattr(function, "attr", getattr(function, "id", ""))
            if name in TRANSLATED:
                continue
            if name in FOR_PROGRAMS:
                continue
        if isinstance(node, ast.Dict):
            for value in node.values:
                yield from strings(ast.Expression(value))
            continue
        if isinstance(node, ast.JoinedStr):
            parts = [v.value if isinstance(v, ast.Constant) else "{}" for v in node.values]
            yield "".join(map(str, parts)), node.lineno
            for value in node.values:
                if isinstance(value, ast.FormattedValue):
                    yield from strings(ast.Expression(value.value))
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno
        yield from strings(node)


def is_for_people(literal: str) -> bool:
    if literal in KEYS | ROLES or NOT_WORDS.fullmatch(literal):
        return False
    words = re.findall(r"[A-Za-z]{3,}", re.sub(r"\{[^}]*\}|[a-z_]+\.[a-z_.]+", " ", literal))
    return bool(words)


def untranslated(source: str) -> list[str]:
    return [
        f"{line}: {found}" for found, line in strings(ast.parse(source)) if is_for_people(found)
    ]


def test_all_words_go_through_the_catalogue():
    found = {path.name: untranslated(path.read_text(encoding="utf-8")) for path in sources()}
    assert {name: words for name, words in found.items() if words} == {}


def test_a_word_that_does_not_is_found():
    assert untranslated('label.setText("Save volume")') == ["1: Save volume"]
    assert untranslated('label.setText(f"Save {name}")') == ["1: Save {}"]
    assert untranslated('TIPS = {"save": "Save it."}') == ["1: Save it."]
    assert untranslated('label.setText(_("Save {name}").format(name=name))') == []
    assert untranslated('label.setObjectName("export.save")') == []


OTHER_SCOPES = (
    *(ast.Lambda, ast.FunctionDef, ast.ClassDef),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


def scopes_that_hide(tree: ast.AST) -> Iterator[int]:
    """Functions that call `_` and have a variable of that name."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.Lambda):
            continue
        own, calls = set(), False
        pending: list[ast.AST] = [*ast.iter_child_nodes(function)]
        while pending:
            node = pending.pop()
            if isinstance(node, OTHER_SCOPES):
                continue
            if isinstance(node, ast.arg):
                own.add(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Name) and node.id == "_":
                calls = True
            pending.extend(ast.iter_child_nodes(node))
        if calls and "_" in own:
            yield function.lineno


def test_no_variable_hides_the_catalogue():
    trees = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in sources()}
    found = {name: list(scopes_that_hide(tree)) for name, tree in trees.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}
    hides = "def f(_):\n    return _('word')"
    assert list(scopes_that_hide(ast.parse(hides))) == [1]


def test_texts_are_filled_in_by_the_names_they_ask_for():
    wrong = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            inner = node.func.value
            if node.func.attr != "format" or not isinstance(inner, ast.Call):
                continue
            if getattr(inner.func, "id", "") != "_":
                continue
            fields = string.Formatter().parse(ast.literal_eval(inner.args[0]))
            asked = {name for _, name, _, _ in fields if name is not None}
            if asked != {keyword.arg for keyword in node.keywords}:
                wrong.append(f"{path.name}:{node.lineno}")
    assert wrong == []


def collector() -> ModuleType:
    spec = importlib.util.spec_from_file_location("catalogue", ROOT / "scripts" / "catalogue.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_template_holds_what_the_window_says_now():
    module = collector()
    kept = module.TEMPLATE.read_text(encoding="utf-8")
    assert kept == module.template(), "run `make text`"


def test_what_is_collected_must_be_literal():
    module = collector()
    found = [message for message, _ in module.messages('ngettext("a {n}", "{n} as", n); _("b")')]
    assert found == [(None, "a {n}", "{n} as"), (None, "b", None)]
    with pytest.raises(module.TextError, match="literal"):
        list(module.messages("_(name)"))
    with pytest.raises(module.TextError, match="literal"):
        list(module.messages('_(f"{name}")'))


def write_catalogue(folder: Path, language: str, words: dict[str, str]) -> None:
    """A compiled catalogue, in the format that gettext's manual describes."""
    words = {"": "Content-Type: text/plain; charset=UTF-8\n", **words}
    keys, values = ([text.encode() for text in side] for side in (sorted(words), words.values()))
    values = [words[key.decode()].encode() for key in keys]
    count, start = len(keys), 28 + 16 * len(words)
    tables, blob = b"", b""
    for side in (keys, values):
        for one in side:
            tables += struct.pack("<II", len(one), start + len(blob))
            blob += one + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0)
    path = folder / language / "LC_MESSAGES" / f"{text.DOMAIN}.mo"
    path.parent.mkdir(parents=True)
    path.write_bytes(head + tables + blob)


TOY = {
    "Browse": "Blättern",
    "Brain number": "Nummer des Gehirns",
    "the edit\0the {edits} edits": "die Änderung\0die {edits} Änderungen",
}
SHOWS = """
import sys
from pathlib import Path
from qtpy.QtWidgets import QApplication, QLabel
from napari_stylegan3d.widgets import text
text._found = text.catalogue(Path(sys.argv[1]))
from napari_stylegan3d.browse.panel import BrowsePanel
from napari_stylegan3d.core.session import Session
application = QApplication([])
panel = BrowsePanel(Session())
print(panel.title)
print(*(label.text() for label in panel.findChildren(QLabel)), sep="|")
print(text.ngettext("the edit", "the {edits} edits", 3).format(edits=3))
"""


def test_the_window_speaks_the_language_of_a_catalogue(tmp_path):
    write_catalogue(tmp_path, "de", TOY)
    environment = {**os.environ, "LANGUAGE": "de_DE", "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-X", "utf8", "-c", SHOWS, str(tmp_path)]
    shown = subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", check=True
    )
    title, labels, plural = shown.stdout.splitlines()[-3:]
    assert title == "Blättern"
    assert "Nummer des Gehirns" in labels.split("|")
    assert "Variety" in labels.split("|"), "what is not translated stays English"
    assert plural == "die 3 Änderungen"


def test_a_language_without_a_catalogue_is_english(tmp_path, monkeypatch):
    write_catalogue(tmp_path, "de", TOY)
    for language, word in (("de", "Blättern"), ("fr:de", "Blättern"), ("fr", "Browse")):
        monkeypatch.setenv("LANGUAGE", language)
        assert text.catalogue(tmp_path).gettext("Browse") == word
    for name in text.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert all("-" not in tag for tag in text.languages()), "the system's, as gettext writes them"


def test_the_engines_sentences_are_found_in_the_catalogue(tmp_path, monkeypatch):
    """By what stands between their numbers and names; the most telling one, where several fit."""
    from stylegan3d.errors import ModelError
    from stylegan3d.model.loading import load

    english = "There is no generator at '{1}'; check the path."
    words = {f"{text.ENGINE}\x04{english}": "In „{1}“ ist kein Generator; prüfen Sie den Pfad."}
    words |= {f"{text.ENGINE}\x04{{1}}; check the path.": "{1}: prüfen Sie den Pfad."}
    words |= {f"{text.ENGINE}\x04{{1}} of {{2}} {{{{so}}}}.": "{{so}}: {2} von {1}."}
    write_catalogue(tmp_path, "de", words)
    monkeypatch.setenv("LANGUAGE", "de")
    monkeypatch.setattr(text, "_found", text.catalogue(tmp_path))
    text._engine_sentences.cache_clear()
    try:
        with pytest.raises(ModelError) as error:
            load(tmp_path / "a {1} b")
        told = notify.sentence(error.value, "loading")
        assert told == f"In „{tmp_path / 'a {1} b'}“ ist kein Generator; prüfen Sie den Pfad."
        assert text.of_engine("Gone; check the path.") == "Gone: prüfen Sie den Pfad."
        assert text.of_engine("3 of 4 {so}.") == "{so}: 4 von 3."
        assert text.of_engine("Not in it.") == "Not in it."
    finally:
        text._engine_sentences.cache_clear()


def test_sentences_of_errors_are_collected():
    """As they are raised, with places for what is filled in."""
    source = """
raise ModelError(f"There are {n} of {m:.2f} in '{name}'" + ", {so to say}.")
raise ModelError("In one piece.") from error
raise ModelError(sentence)
raise ValueError("for programs alone")
raise ModelError(f"{first}; {second}")
"""
    assert list(collector().engine_messages(source)) == [
        ("engine", "There are {1} of {2} in '{3}', {{so to say}}.", None),
        ("engine", "In one piece.", None),
    ]
