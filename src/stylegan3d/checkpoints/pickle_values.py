"""What a network pickle's names mean here: arrays, numbers and networks as inert data.

None of these classes does anything when it is made; an `Array` keeps the file's own bytes and a
view on them. The names are those that 3D-StyleGAN's files of protocols 2 to 5 hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Kind = Literal["network", "dtype", "ndarray", "scalar", "reconstruct", "frombuffer", "encode"]

_NUMPY: dict[tuple[str, str], Kind] = {
    ("multiarray", "scalar"): "scalar",
    ("multiarray", "_reconstruct"): "reconstruct",
    ("numeric", "_frombuffer"): "frombuffer",
}
GLOBALS: dict[tuple[str, str], Kind] = {
    ("dnnlib.tflib.network", "Network"): "network",
    ("numpy", "dtype"): "dtype",
    ("numpy", "ndarray"): "ndarray",
    ("_codecs", "encode"): "encode",
    # numpy 2 writes its modules with an underscore.
    **{(f"numpy.{core}.{m}", n): k for core in ("core", "_core") for (m, n), k in _NUMPY.items()},
}
DTYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
MOST_AXES = 8


DAMAGED = "copy or download it again"
FOREIGN = "it is not a network of 3D-StyleGAN, and nothing in it was run"


class Refused(Exception):
    """Why a file is not read.

    Attributes
    ----------
    reason : str
        The half sentence that follows the file's name.
    advice : str
        The half sentence that follows the reason.
    """

    def __init__(self, reason: str, advice: str = DAMAGED) -> None:
        super().__init__(f"{reason}; {advice}")
        self.reason, self.advice = reason, advice


@dataclass(frozen=True)
class Global:
    """One of the names in `GLOBALS`; there is nothing behind it."""

    kind: Kind


@dataclass
class Dtype:
    """A number's type, one of `DTYPES`, and its byte order; numpy builds it in two steps."""

    code: str
    order: str = "<"

    def numpy(self) -> np.dtype:
        """numpy's own."""
        return np.dtype(self.order.replace("|", "<") + self.code)


@dataclass
class Buffer:
    """Bytes of an array."""

    data: bytes | bytearray


@dataclass
class Array:
    """A number or an array; `values` is None until the file has supplied its content."""

    values: np.ndarray | None = None


@dataclass
class Network:
    """The state of a `dnnlib.tflib.network.Network`: a plain dictionary."""

    state: dict[str, Any] = field(default_factory=dict)


@dataclass
class Decoder:
    """Makes values; counts the bytes it makes, which are never more than the file has."""

    size: int
    made: int = 0

    def plain(self, value: Any) -> Any:
        """A number, text or bytes as the file holds it."""
        if isinstance(value, (bytes, bytearray)):
            return Buffer(value)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise Refused("has a number of more than 64 bits", FOREIGN)
        return value

    def call(self, function: Global, arguments: tuple[Any, ...]) -> Any:
        """What numpy's functions would return for these arguments."""
        makers = {
            "dtype": self._dtype,
            "scalar": self._scalar,
            "reconstruct": self._reconstruct,
            "frombuffer": self._frombuffer,
            "encode": self._encode,
        }
        if function.kind not in makers:
            raise Refused(f"is damaged (it calls the class {function.kind})")
        return makers[function.kind](arguments)

    def new(self, kind: Global, arguments: tuple[Any, ...]) -> Network:
        """A network without a state."""
        if kind.kind != "network" or arguments:
            raise Refused(f"is damaged (it makes a new {kind.kind})")
        return Network()

    def build(self, target: Any, state: Any) -> None:
        """Set an object's state."""
        if type(target) is Network and type(state) is dict:
            target.state = state
        elif type(target) is Dtype and type(state) is tuple:
            _set_order(target, state)
        elif type(target) is Array and target.values is None and type(state) is tuple:
            self._fill(target, state)
        else:
            raise Refused("is damaged (it gives a state to what takes none)")

    def _dtype(self, arguments: tuple[Any, ...]) -> Dtype:
        code = arguments[0] if arguments else None
        if type(code) is not str or len(arguments) > 3:
            raise Refused("is damaged (in the type of an array)")
        if code not in DTYPES:
            raise Refused(
                f"has an array of the type {quoted(code)}, which is no plain number", FOREIGN
            )
        return Dtype(code)

    def _scalar(self, arguments: tuple[Any, ...]) -> Array:
        if len(arguments) != 2:
            raise Refused("is damaged (in a number)")
        return self._array(arguments[1], arguments[0], (), "C")

    def _reconstruct(self, arguments: tuple[Any, ...]) -> Array:
        """An empty array, which `build` fills; called as (ndarray, (0,), b"b")."""
        if len(arguments) != 3 or arguments[0] != Global("ndarray"):
            raise Refused("is damaged (in an array)")
        return Array()

    def _fill(self, target: Array, state: tuple[Any, ...]) -> None:
        if len(state) != 5 or state[0] != 1 or type(state[3]) not in (bool, int):
            raise Refused("is damaged (in an array)")
        _, shape, dtype, fortran, data = state
        target.values = self._array(data, dtype, shape, "F" if fortran else "C").values

    def _frombuffer(self, arguments: tuple[Any, ...]) -> Array:
        if len(arguments) not in (4, 5):
            raise Refused("is damaged (in an array)")
        data, dtype, shape, order = arguments[:4]
        axes = arguments[4] if len(arguments) == 5 else None
        if axes is None:
            return self._array(data, dtype, shape, order)
        array = self._array(data, dtype, shape, "C")
        assert array.values is not None
        numbers = type(axes) is tuple and all(type(a) is int for a in axes)
        if not numbers or sorted(axes) != list(range(array.values.ndim)):
            raise Refused("is damaged (in the order of an array's axes)")
        return Array(array.values.transpose(axes)) if order == "K" else array

    def _array(self, data: Any, dtype: Any, shape: Any, order: Any) -> Array:
        """A view on the file's bytes, whose number must fit the shape exactly."""
        if type(data) is not Buffer or type(dtype) is not Dtype or type(shape) is not tuple:
            raise Refused("is damaged (in an array)")
        if type(order) is not str or order not in ("C", "F"):
            raise Refused("is damaged (in the order of an array's axes)")
        if len(shape) > MOST_AXES or not all(type(n) is int and n >= 0 for n in shape):
            raise Refused("is damaged (in the shape of an array)")
        kind = dtype.numpy()
        if math.prod(shape) * kind.itemsize != len(data.data):
            raise Refused(
                f"has an array of {len(data.data)} bytes where its shape needs "
                f"{math.prod(shape) * kind.itemsize}"
            )
        values = np.frombuffer(data.data, kind) if data.data else np.empty(0, kind)
        try:
            return Array(values.reshape(shape, order="F" if order == "F" else "C"))
        except ValueError as error:  # no element, for one axis is 0, but others beyond all memory
            raise Refused("is damaged (in the shape of an array)") from error

    def _encode(self, arguments: tuple[Any, ...]) -> Buffer:
        """Bytes that protocol 2 writes as text of the characters 0 to 255."""
        text = arguments[0] if len(arguments) == 2 else None
        if type(text) is not str or arguments[1] != "latin1":
            raise Refused("is damaged (in its bytes)")
        # A small file can request the same text many times.
        self.made += len(text)
        if self.made > self.size:
            raise Refused("claims more bytes than it has", FOREIGN)
        try:
            return Buffer(text.encode("latin-1"))
        except UnicodeEncodeError as error:
            raise Refused("is damaged (in its bytes)") from error


def _set_order(target: Dtype, state: tuple[Any, ...]) -> None:
    """Second step of a dtype: (3, order, None, None, None, -1, -1, 0)."""
    fields = state[2:5] if len(state) == 8 else (0,)
    if any(f is not None for f in fields) or type(state[1]) is not str:
        raise Refused("has an array whose elements are no plain numbers", FOREIGN)
    if state[1] not in ("<", ">", "|"):
        raise Refused("is damaged (in the byte order of an array)")
    target.order = state[1]


def quoted(text: str) -> str:
    """A name out of the file for a message: one line, no control characters, not long."""
    shown = text[:80].encode("ascii", "backslashreplace").decode()
    return f"'{printable(shown)}'"


def printable(text: str) -> str:
    """Text out of the file that can be written and shown.

    Neither half characters, which UTF-8 does not have, nor control characters, which a terminal
    would obey.
    """
    return "".join(c if c.isprintable() else "?" for c in text)
