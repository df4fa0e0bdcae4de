"""What can go wrong, said to the person who can mend it.

Every error a user can cause is a `StyleGAN3DError` whose message is one sentence: what is wrong and
what to do about it. The command line prints it and exits with status 2; the window shows it as a
notification. Anything else that escapes is a defect of the program.
"""

from __future__ import annotations

_LONGEST = 900  # characters; a path may have thousands


def one_line(text: str) -> str:
    """A message that can be shown anywhere: one line, no control characters, not endless.

    Messages quote names that came out of files. A terminal would obey control characters in them,
    and half of a surrogate pair cannot be written at all.
    """
    shown = "".join(" " if c.isspace() else c if c.isprintable() else "?" for c in text)
    if len(shown) > _LONGEST:
        # The end says what to do.
        shown = f"{shown[: _LONGEST * 2 // 3]} … {shown[-_LONGEST // 3 :]}"
    return shown


class StyleGAN3DError(Exception):
    """Base of all errors meant for the user; the message is one clear sentence."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class ScanError(StyleGAN3DError):
    """A scan that cannot be read, or that cannot be used as it is."""


class ModelError(StyleGAN3DError):
    """A generator that cannot be loaded, or that lacks what is asked of it."""


class LatentError(StyleGAN3DError):
    """A latent file that is damaged or belongs to another generator."""


class RecipeError(StyleGAN3DError):
    """A recipe that does not describe a volume of this generator."""


class OutputError(StyleGAN3DError):
    """A result that cannot be written where it was asked for."""


class SessionError(StyleGAN3DError):
    """A saved session that is damaged, or that another window has open."""
