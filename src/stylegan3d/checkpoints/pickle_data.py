"""Data out of a pickle file, without ever running what the file contains.

A pickle is a program for a small stack machine that may call any function of any module; Python's
own reader does what it says. This one is another machine: it has only the instructions that plain
data, numpy arrays and 3D-StyleGAN networks need, imports nothing and calls nothing. A "global" of
the file is a name that is looked up in a table of eight, of which each has one fixed meaning here
(`pickle_values`). Everything else is refused by its name.

What a hostile file can cost is bounded: instructions, nesting and decoded bytes are counted, a
length that the file claims is compared with what is left of it before anything is allocated,
and keys of dictionaries are text (hashing nested tuples takes exponential time).
"""

from __future__ import annotations

import io
import pickletools
import struct
from typing import Any

from stylegan3d.checkpoints.pickle_values import (
    FOREIGN,
    GLOBALS,
    Decoder,
    Global,
    Refused,
    quoted,
)

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
    `pickle_values`: Network, Array, Global, Dtype, Buffer. They may share parts and contain
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
            raise Refused("has something behind its end", FOREIGN)
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
