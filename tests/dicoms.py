"""DICOM files for the tests, written byte by byte: also such as no toolkit would write.

Explicit VR little endian, uncompressed, 16 bit. Elements are {(group, element): (VR, value)}; a
value that is a list of dicts is a sequence.
"""

import struct

import numpy as np

MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
CAPTURE, REPORT = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.88.11"
LONG = ("OB", "OW", "SQ", "UN", "UT")
PATIENT = "DOE^JANE"


def element(tag, vr, value):
    if vr == "SQ":
        items = [b"".join(element(t, *v) for t, v in sorted(item.items())) for item in value]
        raw = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    elif vr == "US":
        raw = struct.pack("<H", value)
    elif isinstance(value, bytes):
        raw = value
    else:
        raw = text(value).encode()
        raw += b"" if len(raw) % 2 == 0 else (b"\0" if vr == "UI" else b" ")
    size = struct.pack("<HI", 0, len(raw)) if vr in LONG else struct.pack("<H", len(raw))
    return struct.pack("<HH", *tag) + vr.encode() + size + raw


def text(value):
    if isinstance(value, (list, tuple, np.ndarray)):
        return "\\".join(text(part) for part in value)
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def write(path, elements, preamble=True):
    sop = elements[0x0008, 0x0016][1]
    meta = {
        (2, 1): ("OB", b"\0\1"),
        (2, 2): ("UI", sop),
        (2, 3): ("UI", elements[0x0008, 0x0018][1]),
        (2, 0x10): ("UI", "1.2.840.10008.1.2.1"),
        (2, 0x12): ("UI", "1.2.3.4"),
    }
    head = b"".join(element(tag, *entry) for tag, entry in sorted(meta.items()))
    head = element((2, 0), "UL", struct.pack("<I", len(head))) + head
    body = b"".join(element(tag, *entry) for tag, entry in sorted(elements.items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((b"\0" * 128 + b"DICM" if preamble else b"") + head + body)
    return path


def common(uid, instance, description="t1_mprage", number=3, image_type="ORIGINAL\\PRIMARY\\M"):
    return {
        (0x0008, 0x0008): ("CS", image_type),
        (0x0008, 0x0016): ("UI", MR),
        (0x0008, 0x0018): ("UI", f"{uid}.{instance}"),
        (0x0008, 0x0060): ("CS", "MR"),
        (0x0008, 0x0080): ("LO", "St. Elsewhere"),
        (0x0008, 0x103E): ("LO", description),
        (0x0010, 0x0010): ("PN", PATIENT),
        (0x0010, 0x0030): ("DA", "19700101"),
        (0x0020, 0x000D): ("UI", "1.2.3"),
        (0x0020, 0x000E): ("UI", uid),
        (0x0020, 0x0011): ("IS", number),
        (0x0020, 0x0013): ("IS", instance),
    }


def pixels(data, **more):
    """Elements of an image; `data` int16 (columns, rows) or (columns, rows, frames)."""
    stored = np.ascontiguousarray(data.T, dtype="<i2")
    elements = {
        (0x0028, 0x0002): ("US", 1),
        (0x0028, 0x0004): ("CS", "MONOCHROME2"),
        (0x0028, 0x0010): ("US", data.shape[1]),
        (0x0028, 0x0011): ("US", data.shape[0]),
        (0x0028, 0x0100): ("US", 16),
        (0x0028, 0x0101): ("US", 16),
        (0x0028, 0x0102): ("US", 15),
        (0x0028, 0x0103): ("US", 1),
        (0x7FE0, 0x0010): ("OW", stored.tobytes()),
    }
    if data.ndim == 3:
        elements[0x0028, 0x0008] = ("IS", data.shape[2])
    return elements


def layout(affine):
    """Row and column spacing, orientation, and the LPS place of slice k of a RAS affine."""
    lps = np.diag([-1.0, -1, 1, 1]) @ affine
    columns, rows = lps[:3, 0], lps[:3, 1]
    spacing = [float(np.linalg.norm(rows)), float(np.linalg.norm(columns))]
    turn = [*map(float, columns / spacing[1]), *map(float, rows / spacing[0])]
    return spacing, turn, lambda k: [float(x) for x in lps[:3, 3] + k * lps[:3, 2]]


def write_series(folder, data, affine, uid="1.2.840.99.1", keep=None, extra=None, **about):
    """One file for each slice of `data` int16 (columns, rows, slices), in a random order.

    `keep` are the slices that are written, `extra` further elements for each.
    """
    spacing, turn, place = layout(affine)
    keep = list(range(data.shape[2])) if keep is None else list(keep)
    names = np.random.RandomState(0).permutation(len(keep))
    start = about.pop("start", 0)
    for name, k in zip(names, keep, strict=True):
        elements = common(uid, start + k + 1, **about) | pixels(data[..., k])
        elements |= {
            (0x0020, 0x0032): ("DS", place(k)),
            (0x0020, 0x0037): ("DS", turn),
            (0x0028, 0x0030): ("DS", spacing),
        }
        write(folder / f"IM{start + name:04}", elements | (extra or {}))
    return folder


def write_enhanced(path, data, affine, positions=None, uid="1.2.840.99.7", parts=None):
    """A multi-frame MR file; `positions` are the slice numbers of its frames.

    `parts` are those of a complex image.
    """
    spacing, turn, place = layout(affine)
    positions = range(data.shape[2]) if positions is None else positions
    measures = {(0x0028, 0x0030): ("DS", spacing), (0x0018, 0x0050): ("DS", 1.0)}
    elements = common(uid, 1) | pixels(data)
    elements[0x0008, 0x0016] = ("UI", ENHANCED_MR)
    elements[0x5200, 0x9229] = (
        "SQ",
        [
            {
                (0x0020, 0x9116): ("SQ", [{(0x0020, 0x0037): ("DS", turn)}]),
                (0x0028, 0x9110): ("SQ", [measures]),
            }
        ],
    )
    frames = [{(0x0020, 0x9113): ("SQ", [{(0x0020, 0x0032): ("DS", place(k))}])} for k in positions]
    for frame, part in zip(frames, parts or (), strict=False):
        frame[0x0018, 0x9226] = ("SQ", [{(0x0008, 0x9208): ("CS", part)}])
    elements[0x5200, 0x9230] = ("SQ", frames)
    return write(path, elements)
