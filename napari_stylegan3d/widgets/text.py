"""Every word the window says goes through here, so that it can be said in other languages.

`make text` collects the English text in `locale/napari_stylegan3d.pot`. A translation is a compiled
gettext catalogue, `locale/<language>/LC_MESSAGES/napari_stylegan3d.mo`; where there is none, or a
sentence is missing in it, the text stays English. The language is the one that gettext finds in the
environment (LANGUAGE, LC_ALL, LC_MESSAGES, LANG), else the system's; napari has no setting for it.
Much text is made when its module is imported, so a language lasts as long as the program runs.

The engine speaks English to its callers. Sentences of its errors are in the template as well, with
{1}, {2}, … for inserted values; the window matches them by the text in between.
"""

from __future__ import annotations

import gettext
import os
import re
from functools import cache
from pathlib import Path

from stylegan3d.storage.about import EDITED_SCAN, WORN_DETAIL

DOMAIN = "napari_stylegan3d"
#: What the engine's sentences are about, as gettext calls it.
ENGINE = "engine"
LOCALE = Path(__file__).parents[1] / "locale"
#: Where gettext looks for the language, in its order.
VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")


def languages() -> list[str] | None:
    """Languages to try, best first; None to leave it to gettext and the environment."""
    if any(os.environ.get(name) for name in VARIABLES):
        return None
    from qtpy.QtCore import QLocale

    return [tag.replace("-", "_") for tag in QLocale.system().uiLanguages()]


def catalogue(folder: Path = LOCALE) -> gettext.NullTranslations:
    """The best catalogue of a folder for the user's language; else one that translates nothing."""
    return gettext.translation(DOMAIN, folder, languages(), fallback=True)


_found = catalogue()


def _(text: str) -> str:
    """A text in the user's language, to be formatted afterwards: `_("{n} ml").format(n=3)`."""
    return _found.gettext(text)


def ngettext(singular: str, plural: str, number: int) -> str:
    """The form of a text that goes with a number."""
    return _found.ngettext(singular, plural, number)


def pgettext(context: str, text: str) -> str:
    """A text that is ambiguous alone, such as the name of an axis, with what it is about."""
    return _found.pgettext(context, text)


def of_engine(sentence: str) -> str:
    """A sentence of the engine in the user's language; unchanged if there is no translation."""
    for pattern, translated in _engine_sentences():
        found = pattern.fullmatch(sentence)
        if found:
            return translated.format("", *found.groups())
    return sentence


@cache
def _engine_sentences() -> list[tuple[re.Pattern[str], str]]:
    """Patterns of the catalogue's sentences, most specific first, and their translations."""
    known = getattr(_found, "_catalog", {})
    start = f"{ENGINE}\x04"
    found = {}
    for key, translated in known.items():
        if isinstance(key, str) and key.startswith(start):
            parts = [
                p.replace("{{", "{").replace("}}", "}") for p in _PLACE.split(key[len(start) :])
            ]
            found[tuple(parts)] = translated
    return [
        (re.compile("(.*)".join(map(re.escape, parts)), re.DOTALL), found[parts])
        for parts in sorted(found, key=lambda parts: -sum(map(len, parts)))
    ]


#: A placeholder; a literal brace is doubled.
_PLACE = re.compile(r"(?<!\{)\{\d+\}(?!\})")


#: Marks of pictures with a scan's detail, in the words of the files.
EDITED, WORN = of_engine(EDITED_SCAN), of_engine(WORN_DETAIL)
