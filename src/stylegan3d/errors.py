"""Errors meant for the user.

Every error a user can cause is a `StyleGAN3DError` whose message is one sentence: what is wrong and
what to do about it. The command line prints it and exits with status 2; the window shows it as a
notification. Any other exception is a bug.
"""

from __future__ import annotations

_LONGEST = 900  # characters; a path may have thousands


def one_line(text: str) -> str:
    """Sanitise a message: one line, no control characters, limited length.

    Messages quote names from files. A terminal would execute control characters in them, and an
    unpaired surrogate cannot be encoded.
    """
    shown = "".join(" " if c.isspace() else c if c.isprintable() else "?" for c in text)
    if len(shown) > _LONGEST:
        # The end of a message says what to do.
        shown = f"{shown[: _LONGEST * 2 // 3]} … {shown[-_LONGEST // 3 :]}"
    return shown


class StyleGAN3DError(Exception):
    """Base of all errors meant for the user; the message is one clear sentence."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class ScanError(StyleGAN3DError):
    """A scan that cannot be read or used."""


class ModelError(StyleGAN3DError):
    """A generator that cannot be loaded, or does not support a request."""


class LatentError(StyleGAN3DError):
    """A latent file that is damaged or belongs to another generator."""


class RecipeError(StyleGAN3DError):
    """A recipe that does not describe a volume of this generator."""


class OutputError(StyleGAN3DError):
    """A result that cannot be written."""


class SessionError(StyleGAN3DError):
    """A saved session that is damaged or open in another window."""
