"""Security checks of TorchScript files before torch loads them.

Such a file is a program, parts of which run on loading (`__setstate__`). So the source in the
archive is checked first: besides arithmetic, torch operators can read files (`torch.from_file`),
write them (`torch.save`) and call other machines (`rpc_*`).
"""

from __future__ import annotations

import io
import tokenize
import zipfile
from collections.abc import Iterator
from pathlib import Path

from stylegan3d.errors import ModelError

#: Maximum size; Inception v3 has 0.1 GiB of weights.
MOST_CODE, MOST_BYTES = 16 * 2**20, 2**30
#: Operators beyond arithmetic, in any namespace.
REFUSED = {"save", "load", "from_file", "rpc_async", "rpc_sync", "rpc_remote", "PythonOp"}
#: Namespaces of torch's own operators that only compute.
KNOWN = {"prim", "aten"}
ROOTS = ("torch", "ops")


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("constants.pkl" in name for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def read_torchscript(path: Path) -> io.BytesIO:
    """Read a file whose code only computes, for `torch.jit.load`.

    The archive is repacked, so that torch reads exactly what was checked: different readers may see
    different members in a malformed archive.

    Raises
    ------
    ModelError
        If the code calls anything else (named in the message), is too long or cannot be read.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w") as copy:
        # With any name: torch looks modules up by class name.
        code = [m for m in archive.infolist() if "/code/" in m.filename]
        for members, most in ((code, MOST_CODE), (archive.infolist(), MOST_BYTES)):
            if sum(member.file_size for member in members) > most:
                raise ModelError(f"{path.name} is too large for Inception v3; check the file.")
        for member in dict.fromkeys(archive.namelist()):
            try:
                content = archive.read(member)
                if "/code/" in member and not member.endswith(".debug_pkl"):
                    _check(path, content.decode())
            except (
                *(UnicodeDecodeError, zipfile.BadZipFile, OSError, NotImplementedError),
                *(RuntimeError, tokenize.TokenError, SyntaxError),
            ) as error:
                raise ModelError(f"{path.name} cannot be read; copy the file again.") from error
            copy.writestr(member, content)
    packed.seek(0)
    return packed


def _check(path: Path, source: str) -> None:
    called = sorted(set(_more_than_arithmetic(source)))
    if called:
        raise ModelError(
            f"The program in {path.name} does more than calculate ({', '.join(called)}), so it is "
            "not opened; give a state dict of Inception v3 instead."
        )


def _more_than_arithmetic(source: str) -> Iterator[str]:
    """Names in a source that go beyond arithmetic, in any spelling."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    if any(token.type == tokenize.ERRORTOKEN for token in tokens):
        raise SyntaxError("no source")
    words = [t.string for t in tokens if t.type in (tokenize.NAME, tokenize.OP, tokenize.NUMBER)]
    for i, word in enumerate(words):
        attribute = i > 0 and words[i - 1] == "."
        if word in REFUSED and attribute:
            yield word
        if word not in ROOTS or attribute:
            continue
        follows = [*words[i + 1 : i + 4], "", "", ""]
        if follows[0] != ".":  # aliased, or passed to `getattr`
            yield f"{word} by itself"
        elif word == "ops" and follows[1] not in KNOWN:
            yield f"ops.{follows[1]}"
        elif word == "torch" and follows[1] == "classes":
            yield "torch.classes"
