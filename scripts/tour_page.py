"""The page of the window in pictures: what is on it, and its text."""

from __future__ import annotations

from pathlib import Path

PAGE, FOLDER = "screens.md", Path("images", "screens")
#: Screens, and how much larger than usual a system shows letters and controls.
SIZES = ((1024, 768), (1366, 768), (1920, 1080), (2560, 1440), (3840, 2160))
LARGEST = SIZES[-1]
#: The smallest window, at 100 %: no picture is taken of larger letters on a smaller screen.
SMALLEST = (960, 500)
SCALES = (1.0, 1.5, 2.0)
#: Of a picture of the page; wider ones are reduced.
WIDEST_PX = 1920
THEMES = ("dark", "light")
HEAD = """# The window in pictures

Every panel, window and state of the explorer, in screenshots that the program takes itself
(`make docs`). The patient is a bundled sample; all other brains are synthetic. The
[pages on the window](window/views.md) explain what the screenshots show.
"""
#: Section, then name and caption of each picture.
SCREENS = {
    "Start": {
        "no-model": "The model was not found. The message says what to do; the views are empty.",
        "loading": "A model is being loaded; the panels wait for it.",
        "welcome": "The first start: three steps to begin with, shown over the 3D view.",
        "worked-case": "The guided example points to the control of each step.",
    },
    "Panels": {
        "browse": "Browse: seed number, variety and position on the latent map.",
        "browse-more": "The lower part of Browse: walk, fine texture, privacy, model.",
        "project": "Project, before a scan is open.",
        "mix": "Mix: the coarse structures of one brain and the fine ones of another.",
        "directions": "Directions: age raised by two standard deviations.",
        "compare": "Compare: side by side, cameras and crosshair linked.",
        "export": "Export: volume, latent, pictures, report, film, recipe.",
        "measure": "Measure: volumes for a woman of 50, and tissues in colour.",
        "regions": "The lower part of Measure: regions with left, right and asymmetry.",
        "labels": "Labels: the tissues of the brain, which can be painted or resized.",
        "favourites": "Favourites in the strip below the views.",
    },
    "A patient": {
        "reading": "A scan is being read.",
        "refused": "A scan was refused; one sentence says why.",
        "scan": "A scan is open, not yet aligned.",
        "aligned": "The scan aligned to the model, with the steps of its preparation.",
        "projecting": "Projection: phase, step and remaining time.",
        "cancelled": "The projection was cancelled; the scan is shown as before.",
        "verdict": "Projected: the scan and the verdict.",
        "model-brain": "The synthetic brain most similar to the scan.",
        "unusual": "Deviation map: where the scan differs from what the model expects.",
        "edited": "The scan edited to look 20 years older.",
        "movement": "Movement: where tissue has grown and where it has shrunk.",
        "second": "An overlay on the scan: here the aged scan, saved before.",
        "visits": "Longitudinal comparison: changes, bold beyond the test-retest error.",
        "visits-map": "The local change of volume, in colour over the scan.",
        "error": "An error message: the file does not exist.",
    },
    "Compare and look": {
        "curtain": "Swipe: A to the left of the line, B to the right.",
        "difference": "Difference between A and B.",
        "up-to-four": "Up to four brains in columns.",
        "lightbox": "The lightbox.",
        "one-view": "One enlarged view.",
        "surface": "The surface of the brain in 3D.",
        "light": "The light theme.",
    },
    "Windows": {
        "wall": "The gallery of random brains.",
        "matrix": "The mixing matrix.",
        "new-direction": "A direction of your own, from favourites or a table.",
        "groups": "Groups of people: the window that compares them.",
        "settings": "View settings.",
        "keys": "Keys and mouse gestures (F1).",
        "guide": "The user guide, opened at the section on a panel.",
    },
}


def size_name(width: int, height: int, scale: float, theme: str) -> str:
    """Name of the picture of a screen."""
    return f"{width}x{height}-{100 * scale:.0f}-{theme}"


def names() -> list[str]:
    """All pictures, as they stand on the page."""
    return [name for pictures in SCREENS.values() for name in pictures] + [
        size_name(*size, scale, theme)
        for size in SIZES
        for theme in THEMES
        for scale in SCALES
        if fits(size, scale)
    ]


def fits(size: tuple[int, int], scale: float) -> bool:
    """Whether a screen holds the window."""
    return all(screen >= scale * least for screen, least in zip(size, SMALLEST, strict=True))


def page() -> str:
    """The page that shows them."""
    lines = [HEAD]
    for section, pictures in SCREENS.items():
        lines.append(f"## {section}\n")
        lines += [f"{caption}\n\n{_image(name)}\n" for name, caption in pictures.items()]
    lines.append("## Screen sizes\n")
    lines.append(
        "The window fills the screen; the system's display scale is 100, 150 or 200 %. The window\n"
        f"needs {', '.join(map(_needs, SCALES))}.\n"
        f"Pictures of wider screens are stored {WIDEST_PX} pixels wide, so that text looks\n"
        "smaller there, and less sharp, than on the screen.\n"
    )
    for size in SIZES:
        across = " x ".join(map(str, size))
        reduced = f", reduced to {_reduced(*size)}" if size[0] > WIDEST_PX else ""
        lines.append(f"### {across}{reduced}\n")
        for theme in THEMES:
            for scale in (scale for scale in SCALES if fits(size, scale)):
                picture = _image(size_name(*size, scale, theme))
                lines.append(f"{100 * scale:.0f} %, {theme} theme:\n\n{picture}\n")
    return "\n".join(lines)


def _needs(scale: float) -> str:
    width, height = (round(scale * length) for length in SMALLEST)
    return f"{width} x {height} pixels at {100 * scale:.0f} %"


def _reduced(width: int, height: int) -> str:
    return f"{WIDEST_PX} x {round(height * WIDEST_PX / width)}"


def _image(name: str) -> str:
    # The caption above says what it shows: a screen reader would read the same text twice.
    return f"![]({(FOLDER / name).as_posix()}.webp)"
