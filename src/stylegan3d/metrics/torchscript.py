"""TorchScript files from strangers: looked at before torch opens them.

Such a file is a program. Parts of it run when it is opened (`__setstate__`), so what it calls is
read from its source, which lies in the archive, before: besides arithmetic, torch's operators can
read any file (`torch.from_file`), write one (`torch.save`) and call other machines (`rpc_*`).
"""

from __future__ import annotations

import io
import tokenize
import zipfile
from collections.abc import Iterator
from pathlib import Path

from stylegan3d.errors import ModelError

#: Inception v3 has 0.1 GiB of weights.
MOST_CODE, MOST_BYTES = 16 * 2**20, 2**30
#: Operators beyond arithmetic, in whatever namespace.
REFUSED = {"save", "load", "from_file", "rpc_async", "rpc_sync", "rpc_remote", "PythonOp"}
#: Namespaces of operators that come with torch itself and only calculate.
KNOWN = {"prim", "aten"}
ROOTS = ("torch", "ops")


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive of TorchScript."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("constants.pkl" in name for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def read_torchscript(path: Path) -> io.BytesIO:
    """A file whose code does nothing but calculate, for `torch.jit.load`.

    It is packed again, so that what torch reads is what was looked at: two readers of one odd
    archive may see different members.

    Raises
    ------
    ModelError
        With the name of what else it calls; also if its code is too long or cannot be read.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w") as copy:
        # Whatever its name: torch reads modules by the names of their classes.
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
    """Names in a source that reach beyond arithmetic, however they are spelled."""
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
        if follows[0] != ".":  # under another name, or handed to `getattr`
            yield f"{word} by itself"
        elif word == "ops" and follows[1] not in KNOWN:
            yield f"ops.{follows[1]}"
        elif word == "torch" and follows[1] == "classes":
            yield "torch.classes"
