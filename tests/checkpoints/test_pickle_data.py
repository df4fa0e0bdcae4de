"""The pickle reader: data comes out as it went in, all else is refused, and nothing is run."""

import os
import pickle
import pickletools
import random
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from checkpoints.official_files import Maker, Network, dumps

from stylegan3d.base import ModelError
from stylegan3d.checkpoints.official import read_official
from stylegan3d.checkpoints.pickle_data import ALLOWED, Array, Refused, read_pickle
from stylegan3d.checkpoints.pickle_data import Network as Plain

DATA = Path(__file__).parent / "data"
PROTOCOLS = (2, 3, 4, 5)


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def short(value):
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


# What Python itself reports of a program that imports, compiles, executes or starts anything.
RUN = ("import", "compile", "exec", "pickle.find_class", "os.", "subprocess.", "socket.", "ctypes.")
heard: list[str] | None = None


def hear(event, _):
    if heard is not None and event.startswith(RUN):
        heard.append(event)


sys.addaudithook(hear)  # cannot be taken back; silent while `heard` is None


@pytest.fixture(autouse=True, scope="module")
def _warm():
    """PyTorch imports some of itself when it first builds a network."""
    read_official(DATA / "official_tiny.pkl")


@contextmanager
def nothing_runs():
    global heard
    heard = []
    try:
        yield
    finally:
        events, heard = heard, None
    assert events == []


def test_the_guard_hears():
    with pytest.raises(AssertionError, match=r"pickle\.find_class"), nothing_runs():
        pickle.loads(HOSTILE["name of a class"])


@pytest.fixture
def refuse(tmp_path):
    """Refuses a file in one sentence, soon, and without running anything; returns the sentence."""
    path = tmp_path / "network.pkl"

    def call(data, seconds=5.0):
        path.write_bytes(data)
        begin = time.process_time()
        with nothing_runs(), pytest.raises(ModelError) as refused:
            read_official(path)
        assert time.process_time() - begin < seconds
        told = str(refused.value)
        assert "\n" not in told
        assert told.startswith("'network.pkl' ")
        assert len(told) < 400
        assert told.isprintable()
        return told

    return call


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("numpy2", [False, True])
def test_values_come_out_as_they_went_in(protocol, numpy2):
    arrays = [
        np.arange(6, dtype="<f4").reshape(1, 2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(4, dtype=">f4"),
        np.arange(24, dtype="<i8").reshape(2, 3, 4).transpose(2, 0, 1),
        np.array([True, False]),
        np.arange(12, dtype="<f2")[::2],
        np.float32(1.5),
        np.int64(-7),
    ]
    plain = {
        "none": None,
        "true": True,
        "numbers": [0, 255, 65536, -1, 2**40, 1.5, -(2**62)],
        "text": "ünïcode" * 60,
        "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "again": [[], {}],
    }
    plain["same"] = plain["again"]
    found = read_pickle(dumps({"plain": plain, "arrays": arrays}, protocol, numpy2))
    assert found["plain"] == plain
    assert found["plain"]["same"] is found["plain"]["again"]
    for got, expected in zip(found["arrays"], arrays, strict=True):
        assert type(got) is Array
        assert got.values.dtype.kind == expected.dtype.kind
        np.testing.assert_array_equal(got.values, expected)


def test_networks_keep_their_state():
    found = read_pickle(dumps(Network(name="G", version=4)))
    assert type(found) is Plain
    assert found.state == {"name": "G", "version": 4}


def test_nothing_that_could_run_is_allowed():
    """What pickle's own reader would import, call or fetch from outside, but for the six used."""
    dangerous = {
        *("INST", "OBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"),
        *("NEXT_BUFFER", "READONLY_BUFFER", "DUP", "POP", "POP_MARK", "STRING", "INT", "UNICODE"),
    }
    assert not dangerous & ALLOWED
    codes = {opcode.name: opcode.code.encode("latin1") for opcode in pickletools.opcodes}
    for name in dangerous:
        # An argument that any of them can read, whether a line, a count or a number.
        text = b"\x80\x04(" + codes[name] + b"0\n0\n\x00\x00\x00\x00."
        with pytest.raises(Refused, match=f"instruction {name},"), nothing_runs():
            read_pickle(text)


class Runs:
    """Pickled as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch harm",), "system"),
        (eval, ("1",), "eval"),
        (exec, ("1",), "exec"),
        (subprocess.Popen, (["true"],), ".Popen"),
        (getattr, ("", "join"), "getattr"),
        (np.load, ("harm.npy",), "numpy.load"),
        (np.fromfile, ("harm",), "fromfile"),
        (bytearray, (10**12,), "bytearray"),
        (np.ndarray, ((10**6, 10**6),), "ndarray"),
    ],
)
def test_functions_are_refused_by_name(refuse, protocol, function, arguments, named):
    networks = [*Maker(levels=1).all()]
    networks[0].state["name"] = Runs(function, *arguments)
    assert named in refuse(dumps(tuple(networks), protocol))


PROTO4 = b"\x80\x04"
HOSTILE = {
    "reduce": b"\x80\x02cos\nsystem\n" + text("true") + b"\x85R.",
    "name of a class": b"\x80\x02ccollections\nOrderedDict\n.",
    "posix": b"\x80\x02cposix\nsystem\n" + text("true") + b"\x85R.",
    "builtins": b"\x80\x02c__builtin__\neval\n" + text("1") + b"\x85R.",
    "dotted name": PROTO4 + short("numpy") + short("dtype.__class__") + b"\x93.",
    "dotted module": PROTO4 + short("dnnlib.tflib.network.os") + short("system") + b"\x93.",
    "blank in a name": b"\x80\x02cnumpy dtype\nx\n.",
    "attribute of numpy": PROTO4 + short("numpy.core.multiarray") + short("fromfile") + b"\x93.",
    "name from the memo": PROTO4
    + short("os")
    + b"\x94"
    + short("system")
    + b"\x940h\x00h\x01\x93.",
    "name from numbers": PROTO4 + b"K\x01K\x02\x93.",
    "inst": b"\x80\x02(" + text("true") + b"ios\nsystem\n.",
    "obj": b"\x80\x02(cos\nsystem\n" + text("true") + b"o.",
    "newobj of another class": b"\x80\x02csubprocess\nPopen\n)\x81.",
    "newobj of dtype": PROTO4 + short("numpy") + short("dtype") + b"\x93)\x81.",
    "newobj_ex": PROTO4 + short("numpy") + short("dtype") + b"\x93)}\x92.",
    "build of a class": PROTO4
    + short("dnnlib.tflib.network")
    + short("Network")
    + b"\x93}"
    + short("__setstate__")
    + short("x")
    + b"sb.",
    "reduce of a class": PROTO4 + short("dnnlib.tflib.network") + short("Network") + b"\x93)R.",
    "reduce of text": PROTO4 + short("system") + b")R.",
    "extension": b"\x80\x02\x82\x01.",
    "extension of two bytes": b"\x80\x02\x83\x01\x00.",
    "extension of four bytes": b"\x80\x02\x84\x01\x00\x00\x00.",
    "persistent": b"\x80\x02" + text("a") + b"Q.",
    "persistent text": b"\x80\x02Pabc\n.",
    "out of band": b"\x80\x05\x97.",
    "read only out of band": b"\x80\x05\x97\x98.",
    "protocol 0": pickle.dumps({"a": 1}, 0),
    "protocol 1": pickle.dumps({"a": 1}, 1),
    "protocol 6": b"\x80\x06N.",
    "second protocol": b"\x80\x02\x80\x02N.",
    "empty": b"",
    "one byte": b"\x80",
    "no instruction": b"\x80\x02\xff.",
    "set of tuples": PROTO4 + b"\x8f.",
    "huge text": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a",
    "huge bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**63 - 1) + b"a",
    "huge bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**64 - 1) + b"a",
    "huge frame": b"\x80\x04\x95" + struct.pack("<Q", 2**64 - 1) + b"N.",
    "huge number": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01.",
    "negative number": b"\x80\x02\x8b" + struct.pack("<i", -1) + b"\x01.",
    "long number": b"\x80\x02\x8a\xff" + b"\x01" * 255 + b".",
    "no text": b"\x80\x02X\x02\x00\x00\x00\xff\xfe.",
    "memo without value": b"\x80\x02q\x00.",
    "memo never set": b"\x80\x02h\x00.",
    "memo far away": b"\x80\x02Nr\xff\xff\xff\xff.",
    "tuple of nothing": b"\x80\x02\x87.",
    "mark never set": b"\x80\x02t.",
    "mark never used": b"\x80\x02(N.",
    "two values": b"\x80\x02NN.",
    "no value": b"\x80\x02.",
    "no end": b"\x80\x02N",
    "behind the end": b"\x80\x02N.N.",
    "append to nothing": b"\x80\x02Na.",
    "append to text": b"\x80\x02" + text("a") + b"Na.",
    "set item of a list": b"\x80\x02]NNs.",
    "odd items": b"\x80\x02}(Nu.",
    "key of a tuple": b"\x80\x02})Ns.",
    "key of a number": b"\x80\x02}K\x01Ns.",
    "deep marks": b"\x80\x02" + b"(" * 100_000 + b".",
    "deep lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "many instructions": b"\x80\x02N" + b"\x94" * 2_000_000 + b".",
    "control characters": b"\x80\x02cos\x1b[31m\nsys\ttem\n.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_tricks_are_refused(refuse, name):
    refuse(HOSTILE[name])


def test_refused_names_are_told(refuse):
    assert "'os.system'" in refuse(HOSTILE["reduce"])
    assert "nothing in it was run" in refuse(HOSTILE["reduce"])
    assert "'os.system'" in refuse(PROTO4 + short("os") + short("system") + b"\x93.")
    assert "POP" in refuse(HOSTILE["name from the memo"])
    assert "instruction INST" in refuse(HOSTILE["inst"])
    assert "protocol 6" in refuse(HOSTILE["protocol 6"])
    assert "cut short" in refuse(HOSTILE["huge bytearray"])
    long = "a" * 5000
    assert len(refuse(b"\x80\x02c" + long.encode() + b"\n" + long.encode() + b"\n.")) < 300


def array(data, dtype="f4", shape=b"K\x01\x85", order="C", state=None):
    """`numpy.core.numeric._frombuffer(data, dtype, shape, order)` at protocol 5."""
    build = b"" if state is None else state + b"b"
    return (
        short("numpy.core.numeric")
        + short("_frombuffer")
        + b"\x93(\x96"
        + struct.pack("<Q", len(data))
        + data
        + short("numpy")
        + short("dtype")
        + b"\x93"
        + short(dtype)
        + b"\x89\x88\x87R"
        + build
        + shape
        + short(order)
        + b"tR"
    )


@pytest.mark.parametrize(
    "value",
    [
        array(b"1234", shape=b"K\x02\x85"),
        array(b"12345"),
        array(b"", shape=b"\x8a\x08" + struct.pack("<q", 2**62) + b"\x85"),
        array(b"", shape=b"K\x00\x8a\x08" + struct.pack("<q", 2**62) + b"\x86"),
        array(b"1234", shape=b"J\xff\xff\xff\xff\x85"),
        array(b"1234", shape=b"(" + b"K\x01" * 40 + b"t"),
        array(b"1234", shape=b"K\x01"),
        array(b"1234", shape=b"\x88\x85"),
        array(b"1234", order="A"),
        array(b"1234", order="K"),
        array(b"12345678", dtype="O8"),
        array(b"1234", dtype="V4"),
        array(b"1234", dtype="f4,f4"),
        array(b"1234", dtype="<U1"),
        array(b"1234", dtype="c8"),
        array(b"1234", state=b"(K\x03" + short("!") + b"NNNJ\xff\xff\xff\xffK\x00K\x00t"),
        array(b"1234", state=b"(K\x03" + short("<") + b"N]NJ\xff\xff\xff\xffK\x00K\x00t"),
        array(b"1234", state=b")"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(value):
    assert read_pickle(b"\x80\x05" + array(b"1234") + b".").values.shape == (1,)
    with pytest.raises(Refused):
        read_pickle(b"\x80\x05" + value + b".")


def test_an_array_of_objects_is_refused(refuse):
    hidden = np.array([Runs(os.system, "true"), None], dtype=object)
    for protocol in PROTOCOLS:
        assert "'O8'" in refuse(dumps({"a": hidden}, protocol)) or protocol == 2


def test_a_text_that_is_turned_into_bytes_many_times_costs_no_more_than_the_file(refuse):
    encode = b"c_codecs\nencode\n"
    big = b"\x80\x02" + encode + b"q\x00" + text("a" * 1_000_000) + b"q\x01" + text("latin1")
    data = big + b"q\x02" + b"h\x00h\x01h\x02\x86R" * 10_000 + b"."
    assert "more bytes than it has" in refuse(data)


def test_nested_tuples_take_no_exponential_time(refuse):
    """Hashing or printing t = (t', t'), forty deep, would take years."""
    bomb = b"\x80\x02)" + b"".join(
        b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60)
    )
    refuse(bomb + b".")
    refuse(bomb + b"}" + text("a") + b"Ns\x86.")
    refuse(b"\x80\x02}" + bomb[2:] + b"Ns.")
    lists = b"\x80\x02]" + b"".join(
        b"q" + bytes([i]) + b"](h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(60)
    )
    refuse(lists + b".")


def test_a_value_that_contains_itself_is_refused(refuse):
    refuse(b"\x80\x02]q\x00h\x00a.")
    refuse(b"\x80\x02}q\x00" + text("a") + b"h\x00s.")


@pytest.mark.parametrize("protocol", [2, 5])
def test_files_cut_anywhere_are_refused(refuse, protocol):
    data = dumps(Maker(levels=2).all(), protocol)
    for length in range(0, len(data), 997):
        refuse(data[:length])
    refuse(data + b"\0")


def test_the_fixture_cut_anywhere_is_refused(refuse):
    data = (DATA / "official_tiny.pkl").read_bytes()
    for length in range(0, len(data), 99_700):
        refuse(data[:length])


def test_random_changes_never_crash_or_run_anything(tmp_path):
    """Changed bytes give a network, or one sentence; never another exception, never long."""
    rng = random.Random(0)
    path = tmp_path / "network.pkl"
    begin = time.process_time()
    refused = 0
    for protocol in (2, 4, 5):
        data = dumps(Maker(levels=1, base=(1, 2, 1)).all(), protocol)
        for _ in range(150):
            changed = bytearray(data)
            for _ in range(rng.choice((1, 1, 3, 20))):
                # Most bytes are weights: look for the instructions at the beginning too.
                end = rng.choice((len(data), 1500))
                changed[rng.randrange(end)] = rng.randrange(256)
            path.write_bytes(bytes(changed))
            with nothing_runs():
                try:
                    read_official(path)
                except ModelError:
                    refused += 1
    assert refused > 100
    assert time.process_time() - begin < 60
