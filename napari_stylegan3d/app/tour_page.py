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
THEMES = ("dark", "light")
HEAD = """# The window in pictures

Every panel, window and state of the explorer, as the program itself photographs them (`make docs`).
The patient is a bundled sample; all other brains are synthetic. The [user guide](user-guide.md)
explains what is seen here.
"""
#: Section, then name and caption of each picture.
SCREENS = {
    "Start": {
        "no-model": "The model was not found: the message says what to do; the views are empty.",
        "loading": "A model is being loaded; the panels wait for it.",
        "welcome": "The first start: three steps over the 3D view.",
        "worked-case": "The worked case points to the control of each step.",
    },
    "Panels": {
        "browse": "Browse: number, variety and position on the latent map.",
        "browse-more": "Browse, further down: walk, fine texture, privacy, the model.",
        "project": "Project, before a scan is open.",
        "mix": "Mix: coarse structures of one brain, fine ones of another.",
        "directions": "Directions: two standard deviations along the first.",
        "compare": "Compare: side by side, cameras and crosshair linked.",
        "export": "Export: volume, latent, pictures, report, film, recipe.",
        "measure": "Measure: volumes for a woman of 50, and tissues in colour.",
        "regions": "Measure, further down: regions with left, right and asymmetry.",
        "labels": "Labels: tissues of the brain, to paint or resize.",
        "favourites": "Favourites in the strip below the views.",
    },
    "A patient": {
        "reading": "A scan is being read.",
        "refused": "A scan that is refused: one sentence says why.",
        "scan": "A scan is open, not yet aligned.",
        "aligned": "The scan aligned to the model, and its preparation.",
        "projecting": "Projecting: phase, step and remaining time.",
        "cancelled": "Projecting was cancelled: the scan is shown as before.",
        "verdict": "Projected: the scan and the verdict.",
        "model-brain": "The synthetic brain most similar to the scan.",
        "unusual": "Unusual: where the scan differs from what the model expects.",
        "edited": "The scan itself, 20 years older.",
        "movement": "Movement: where tissue grows and shrinks.",
        "second": "A second image over the scan: here the aged scan saved before.",
        "visits": "Two visits: the change of each volume; bold where it exceeds the error.",
        "visits-map": "The change of local volume over the scan.",
        "error": "A file that does not exist.",
    },
    "Compare and look": {
        "curtain": "Curtain: A to the left of the line, B to the right.",
        "difference": "Difference between A and B.",
        "up-to-four": "Up to four brains in columns.",
        "lightbox": "The lightbox.",
        "one-view": "One enlarged view.",
        "surface": "The surface of the brain in 3D.",
        "light": "The light theme.",
    },
    "Windows": {
        "wall": "The wall of numbered brains.",
        "matrix": "The mixing matrix.",
        "new-direction": "A direction of your own, from favourites or a table.",
        "groups": "Comparing groups of people.",
        "settings": "View settings.",
        "keys": "Keys and mouse gestures (F1).",
        "guide": "The user guide at the section of a panel.",
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
        lines += [f"{caption}\n\n{_image(name, caption)}\n" for name, caption in pictures.items()]
    lines.append("## Sizes of screen\n")
    lines.append(
        "The window fills the screen; the system shows letters and controls at 100, 150 or 200 %.\n"
        f"The window needs {', '.join(map(_needs, SCALES))}.\n"
    )
    for size in SIZES:
        across = " x ".join(map(str, size))
        lines.append(f"### {across}\n")
        for theme in THEMES:
            for scale in (scale for scale in SCALES if fits(size, scale)):
                seen = f"{100 * scale:.0f} %, {theme} theme"
                picture = _image(size_name(*size, scale, theme), f"{across} at {seen}")
                lines.append(f"{seen}:\n\n{picture}\n")
    return "\n".join(lines)


def _needs(scale: float) -> str:
    width, height = (round(scale * length) for length in SMALLEST)
    return f"{width} x {height} pixels at {100 * scale:.0f} %"


def _image(name: str, caption: str) -> str:
    return f"![{caption.rstrip('.')}]({(FOLDER / name).as_posix()}.webp)"
