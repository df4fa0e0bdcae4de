"""What can go wrong, said to the person who can mend it.

Every error a user can cause is a `StyleGAN3DError` whose message is one sentence: what is wrong and
what to do about it. The command line prints it and exits with status 2; the window shows it as a
notification. Anything else that escapes is a defect of the program.
"""

from __future__ import annotations


class StyleGAN3DError(Exception):
    """Base of all errors meant for the user; the message is one clear sentence."""


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
