"""Data out of a pickle file, without ever running what the file contains.

A pickle is a program for a small stack machine that may call any function of any module; Python's
own reader does what it says. This one is another machine: it has only the instructions that plain
data, numpy arrays and 3D-StyleGAN networks need, imports nothing and calls nothing. A "global" of
the file is a name that is looked up in a table of eight, of which each has one fixed meaning here
(below). Everything else is refused by its name.

What a hostile file can cost is bounded: instructions, nesting and decoded bytes are counted, a
length that the file claims is compared with what is left of it before anything is allocated,
and keys of dictionaries are text (hashing nested tuples takes exponential time).

What a network pickle's names mean here: arrays, numbers and networks as inert data.

None of these classes does anything when it is made; an `Array` keeps the file's own bytes and a
view on them. The names are those that 3D-StyleGAN's files of protocols 2 to 5 hold.
"""

import io
import math
import pickletools
import struct
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
            raise Refused(f"has an array of type {quoted(code)}, not plain numbers", FOREIGN)
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
        raise Refused("has an array whose elements are not plain numbers", FOREIGN)
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


MOST_INSTRUCTIONS = 500_000  # a real network has about 5,000
MOST_MARKS = 64
PROTOCOLS = (2, 5)

_TABLE = {ord(code.code): code for code in pickletools.opcodes}
_PLAIN = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_ARGUMENT = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_GET = {"BINGET", "LONG_BINGET"}
_PUT = {"BINPUT", "LONG_BINPUT", "MEMOIZE"}
# Each has a method of the machine, `_` and its name in lower case.
_METHODS = {
    *("MARK", "TUPLE", "LIST", "DICT", "APPEND", "APPENDS", "SETITEM", "SETITEMS"),
    *("GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD"),
}
ALLOWED = frozenset(
    {"PROTO", "FRAME", "STOP", *_PLAIN, *_ARGUMENT, *_EMPTY, *_TUPLES, *_GET, *_PUT, *_METHODS}
)


def read_pickle(data: bytes) -> Any:
    """The value that a pickle describes.

    Parameters
    ----------
    data : bytes
        The whole file; protocols 2 to 5.

    Returns
    -------
    None, bool, int, float, str, bytes, list, tuple, dict with text for keys, and of
    the types above: Network, Array, Global, Dtype, Buffer. They may share parts and contain
    themselves, so whoever walks through them must not recurse.

    Raises
    ------
    Refused
        With the reason as half a sentence, if the file is damaged or contains anything else.
    """
    return _Machine(data).run()


class _Machine:
    """Stack, marks and memo of a pickle being read."""

    def __init__(self, data: bytes) -> None:
        self.stream = io.BytesIO(data)
        self.size = len(data)
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.decode = Decoder(self.size)

    def run(self) -> Any:
        low, high = PROTOCOLS
        start = self.stream.read(2)
        if len(start) < 2 or start[0] != _code("PROTO"):
            raise Refused(f"is no pickle of protocol {low} to {high}", FOREIGN)
        if not low <= start[1] <= high:
            raise Refused(f"is a pickle of protocol {start[1]}, not {low} to {high}", FOREIGN)
        for _ in range(MOST_INSTRUCTIONS):
            name, argument = self._next()
            if name == "STOP":
                return self._result()
            self._do(name, argument)
        raise Refused(f"has more than {MOST_INSTRUCTIONS:,} instructions", FOREIGN)

    def _next(self) -> tuple[str, Any]:
        """The next instruction and its argument; the name is checked before the argument."""
        code = self.stream.read(1)
        if not code:
            raise Refused("is cut short")
        known = _TABLE.get(code[0])
        if known is None:
            raise Refused(f"is damaged (there is no pickle instruction 0x{code.hex()})")
        if known.name not in ALLOWED or known.name == "PROTO":
            raise Refused(
                f"uses the pickle instruction {known.name}, which no network file needs", FOREIGN
            )
        if known.arg is None:
            return known.name, None
        try:
            return known.name, known.arg.reader(self.stream)
        except (ValueError, OverflowError, struct.error) as error:
            raise Refused(f"is cut short or damaged (in a {known.name})") from error

    def _do(self, name: str, argument: Any) -> None:
        if name in _ARGUMENT:
            self.stack.append(self.decode.plain(argument))
        elif name in _PUT:
            self.memo[len(self.memo) if argument is None else argument] = self._top()
        elif name in _GET:
            if argument not in self.memo:
                raise Refused("is damaged (it refers to a value it does not have)")
            self.stack.append(self.memo[argument])
        elif name in _TUPLES:
            items = [self._pop() for _ in range(_TUPLES[name])]
            self.stack.append(tuple(reversed(items)))
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _PLAIN:
            self.stack.append(_PLAIN[name])
        elif name == "FRAME":
            if self.stream.tell() + argument > self.size:
                raise Refused("is cut short")
        else:
            self._call(name, argument)

    def _call(self, name: str, argument: Any) -> None:
        method = getattr(self, f"_{name.lower()}")
        if name == "GLOBAL":
            method(argument)
        else:
            method()

    def _result(self) -> Any:
        if self.stream.tell() != self.size:
            raise Refused("has data after its end", FOREIGN)
        if len(self.stack) != 1 or self.marks:
            raise Refused("is damaged (it does not end with one value)")
        return self.stack[0]

    def _top(self) -> Any:
        if not self.stack:
            raise Refused("is damaged (it takes a value where there is none)")
        return self.stack[-1]

    def _pop(self) -> Any:
        self._top()
        return self.stack.pop()

    def _mark(self) -> None:
        if len(self.marks) >= MOST_MARKS:
            raise Refused(f"nests its values more than {MOST_MARKS} deep", FOREIGN)
        self.marks.append(self.stack)
        self.stack = []

    def _items(self) -> list[Any]:
        """The values since the last mark, which goes."""
        if not self.marks:
            raise Refused("is damaged (it ends a list that it has not begun)")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def _tuple(self) -> None:
        items = self._items()  # first: it changes which stack is in use
        self.stack.append(tuple(items))

    def _list(self) -> None:
        items = self._items()
        self.stack.append(items)

    def _dict(self) -> None:
        items = self._items()
        self.stack.append({})
        self._set(items)

    def _append(self) -> None:
        self._extend([self._pop()])

    def _appends(self) -> None:
        self._extend(self._items())

    def _extend(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is not list:
            raise Refused("is damaged (it appends to what is no list)")
        target.extend(items)

    def _setitem(self) -> None:
        value = self._pop()
        self._set([self._pop(), value])

    def _setitems(self) -> None:
        self._set(self._items())

    def _set(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is not dict or len(items) % 2:
            raise Refused("is damaged (it sets items of what is no dictionary)")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:
                raise Refused("has a dictionary whose keys are not text", FOREIGN)
            target[key] = value

    def _global(self, argument: str) -> None:
        # pickletools joins module and name with a blank.
        self._name(*argument.split(" ", 1))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise Refused("is damaged (the name of a function in it is not text)")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        kind = GLOBALS.get((module, name))
        if kind is None:
            asked = quoted(f"{module[:40]}.{name[:40]}")
            raise Refused(f"refers to {asked}, which no network file needs", FOREIGN)
        self.stack.append(Global(kind))

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if type(function) is not Global or type(arguments) is not tuple:
            raise Refused("is damaged (it calls what is no function)")
        self.stack.append(self.decode.call(function, arguments))

    def _newobj(self) -> None:
        arguments, kind = self._pop(), self._pop()
        if type(kind) is not Global or type(arguments) is not tuple:
            raise Refused("is damaged (it makes an object of what is no class)")
        self.stack.append(self.decode.new(kind, arguments))

    def _build(self) -> None:
        state = self._pop()
        self.decode.build(self._top(), state)


def _code(name: str) -> int:
    return next(code for code, known in _TABLE.items() if known.name == name)
