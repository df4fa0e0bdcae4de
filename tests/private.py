"""Words that name a patient, and the files that hold one of them."""

import base64
import gzip
import re
import zipfile
import zlib
from contextlib import suppress

#: Of a folder's name and a DICOM header.
PRIVATE = (b"JANE", b"19700101", b"Elsewhere", b"t1_mprage")


def contents(path):
    """Every byte of a file, unpacked where it is packed."""
    # A page's pictures as bytes: their letters spell any word of four letters sooner or later.
    embedded = rb"(?<=;base64,)[A-Za-z0-9+/=]+"
    data = re.sub(embedded, lambda found: base64.b64decode(found[0]), path.read_bytes())
    yield data
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL):
        with suppress(zlib.error):
            yield zlib.decompress(stream)


def private_in(folder):
    """(file, word) of what is private below a folder, in names and in bytes."""
    found = set()
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        texts = [name.encode(), *(contents(path) if path.is_file() else ())]
        found |= {(name, word) for text in texts for word in PRIVATE if word in text}
    return found
