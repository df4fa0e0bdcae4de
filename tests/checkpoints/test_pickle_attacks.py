"""The tricks of published attacks on pickle files and their scanners; none of them does anything.

Names and techniques are those of the corpora and advisories on picklescan, fickling and the like:
functions that run code and were on no list of forbidden ones, names put together from parts,
pickles within pickles and archives, streams that go on behind their end, lies about lengths.
"""

import io
import pickle
import pickletools
import struct
import tarfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from checkpoints.test_pickle_data import (
    PROTO4,
    array,
    nothing_runs,
    refuse,  # noqa: F401  (a fixture)
    short,
    text,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stylegan3d.checkpoints.pickle_data import ALLOWED, GLOBALS, Refused, read_pickle
from stylegan3d.model.generator import load

DATA = Path(__file__).parent / "data"
NETWORK = short("dnnlib.tflib.network") + short("Network") + b"\x93"

# What runs code, starts programs, opens files or connections, and was used to get past scanners.
GADGETS = (DATA / "gadgets.txt").read_text().split()


def memo(number):
    return b"q" + bytes([number])


def got(number):
    return b"h" + bytes([number])


@pytest.mark.parametrize("gadget", GADGETS)
def test_no_published_gadget_is_a_name_that_is_known(refuse, gadget):  # noqa: F811
    """By every instruction that can name it, split at every dot, called or not."""
    parts = gadget.split(".")
    for cut in range(1, len(parts)):
        module, name = ".".join(parts[:cut]), ".".join(parts[cut:])
        assert (module, name) not in GLOBALS
        line = f"{module}\n{name}\n".encode()
        call = text("true") + b"\x85R."
        for stream in (
            b"\x80\x02c" + line + call,
            PROTO4 + short(module) + short(name) + b"\x93" + call,
            PROTO4 + short(module) + b"\x94" + short(name) + b"\x94h\x00h\x01\x93" + call,
            b"\x80\x02(" + text("true") + b"i" + line + b".",
            b"\x80\x02(c" + line + text("true") + b"o.",
            b"\x80\x02c" + line + b")\x81}b.",
            b"\x80\x02}" + text("state") + b"c" + line + b"s.",
        ):
            refuse(stream)


TRICKS = {
    # The argument of a known function is the attack: what runs when it is made or compared.
    "dtype of a class": PROTO4 + short("numpy") + short("dtype") + b"\x93" + NETWORK + b"\x85R.",
    "dtype of itself": PROTO4 + short("numpy") + short("dtype") + b"\x93q\x00h\x00\x85R.",
    "dtype with a callable inside": PROTO4
    + short("numpy")
    + short("dtype")
    + b"\x93"
    + short("f4")
    + b"\x85R(K\x04"
    + short("<")
    + NETWORK
    + b"NN\x8a\x01\xff\x8a\x01\xffK\x10"
    + b"\x93tb.",
    "state set on a class": PROTO4 + NETWORK + b"}" + short("__call__") + NETWORK + b"sb.",
    "state with __setstate__": PROTO4
    + NETWORK
    + b")\x81}"
    + short("__setstate__")
    + NETWORK
    + b"sb}b.",
    "state with __class__": PROTO4 + NETWORK + b")\x81}" + short("__class__") + NETWORK + b"sb.",
    "state that is a pair of slots": PROTO4 + NETWORK + b")\x81N}" + short("x") + b"K\x01s\x86b.",
    "state given twice to an array": PROTO4 + array(b"1234") + b")b.",
    "an array where a name is": PROTO4 + array(b"1234") + array(b"1234") + b"\x93.",
    "a call of what a call returned": PROTO4 + NETWORK + b")\x81)R.",
    "_reconstruct of a class": PROTO4
    + short("numpy.core.multiarray")
    + short("_reconstruct")
    + b"\x93"
    + NETWORK
    + b"K\x00\x85C\x01b\x87R.",
    "scalar of objects": PROTO4
    + short("numpy.core.multiarray")
    + short("scalar")
    + b"\x93"
    + short("numpy")
    + short("dtype")
    + b"\x93"
    + short("O8")
    + b"\x89\x88\x87RC\x08\0\0\0\0\0\0\0\0\x86R.",
    "encode with another codec": b"\x80\x02c_codecs\nencode\n"
    + text("a")
    + text("hex")
    + b"\x86R.",
    "encode with error handler": b"\x80\x02c_codecs\nencode\n"
    + text("a")
    + text("latin1")
    + text("x")
    + b"\x87R.",
    # Streams that scanners give up on, or read otherwise than pickle does.
    "unknown instruction behind the payload": b"\x80\x02cos\nsystem\n" + text("x") + b"\x85R\xff.",
    "no end behind the payload": b"\x80\x02cos\nsystem\n" + text("x") + b"\x85R",
    "payload in a second pickle": pickle.dumps({}, 4) + b"\x80\x02cos\nsystem\n)R.",
    "payload behind other bytes": b"\0" * 8 + b"\x80\x02cos\nsystem\n)R.",
    "payload within bytes": pickle.dumps(b"\x80\x02cos\nsystem\n)R.", 4),
    "loads of payload": b"\x80\x04\x8c\x06pickle\x8c\x05loads\x93C\x08cos\nsys\n\x85R.",
    "frame that is too short": PROTO4 + b"\x95" + struct.pack("<Q", 1) + b"cos\nsystem\n.",
    "frame that is too long": PROTO4 + b"\x95" + struct.pack("<Q", 10**9) + b"N.",
    "frames within frames": PROTO4 + (b"\x95" + struct.pack("<Q", 1)) * 1000 + b"N.",
    "protocol again and again": b"\x80\x04" * 1000 + b"N.",
    "protocol 255": b"\x80\xffN.",
    "newline of another system": b"\x80\x02cos\r\nsystem\r\n.",
    "blank before the module": b"\x80\x02c os\nsystem\n.",
    "letters that look alike": PROTO4 + short("numpу") + short("dtype") + b"\x93.",
    "letters that normalise": PROTO4 + short("ｎumpy") + short("dtype") + b"\x93.",
    "nul in the name": PROTO4 + short("numpy\0x") + short("dtype") + b"\x93.",
    "relative module": PROTO4 + short(".numpy") + short("dtype") + b"\x93.",
    "empty module": PROTO4 + short("") + short("eval") + b"\x93.",
    "name of bytes": PROTO4 + b"C\x05numpyC\x05dtype\x93.",
    "name of a subclass": PROTO4 + NETWORK + short("dtype") + b"\x93.",
    "name of a list": PROTO4 + b"]" + short("dtype") + b"\x93.",
    # Ways to take what a stream, a memory or a time can give.
    "number of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
    "number of 16 MB": b"\x80\x02\x8b" + struct.pack("<i", 2**24) + b"\x7f" * 2**24 + b".",
    "text of 2 GB": b"\x80\x02X\xff\xff\xff\x7fa.",
    "memo of a thousand million": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "memo of negative": b"\x80\x02Np-1\n.",
    "memo of text": b"\x80\x02Npabc\n.",
    "long memo names": b"\x80\x02Np" + b"9" * 5000 + b"\n.",
    "laughs of lists": b"\x80\x02]"
    + b"".join(memo(i) + b"](" + got(i) * 10 + b"e" for i in range(50))
    + b".",
    "laughs of dictionaries": b"\x80\x02}"
    + b"".join(memo(i) + b"}(" + text("a") + got(i) + text("b") + got(i) + b"u" for i in range(50))
    + b".",
    "a list of itself extended by itself": b"\x80\x02]q\x00(" + b"h\x00" * 1000 + b"e.",
    "a network that is its own part": PROTO4
    + NETWORK
    + b")\x81q\x00}"
    + short("components")
    + b"}"
    + short("mapping")
    + b"h\x00s"
    + short("synthesis")
    + b"h\x00ssb.",
    "variables that share one array": PROTO4
    + NETWORK
    + b")\x81}("
    + short("version")
    + b"K\x04"
    + short("components")
    + b"}"
    + short("variables")
    + b"]("
    + array(b"\0" * 4_000_000, shape=b"J" + struct.pack("<i", 1_000_000) + b"\x85")
    + b"q\x01"
    + b"".join(short(f"v{i}") + b"h\x01\x86" for i in range(1000))
    + b"eub.",
}


@pytest.mark.parametrize("name", TRICKS)
def test_no_trick_does_anything(refuse, name):  # noqa: F811
    refuse(TRICKS[name])


def zipped(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def tarred(name, content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


PAYLOAD = b"\x80\x02cos\nsystem\n" + text("touch harm") + b"\x85R."


@pytest.mark.parametrize(
    "packed",
    [
        zipped("archive/data.pkl", PAYLOAD),
        zipped("data.pkl", PAYLOAD)[:-10],
        zipped("../data.pkl", PAYLOAD),
        tarred("data.pkl", PAYLOAD),
        zlib.compress(PAYLOAD),
        zlib.compress(PAYLOAD, wbits=31),
        b"7z\xbc\xaf\x27\x1c" + PAYLOAD,
        PAYLOAD + zipped("data.pkl", PAYLOAD),
    ],
)
def test_pickles_in_archives_are_not_looked_for(refuse, packed, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    refuse(packed)
    assert not (tmp_path / "harm").exists()


def test_source_in_a_network_is_not_run(tmp_path, monkeypatch):
    """`build_module_src` is Python text that the original's own reader executes."""
    from checkpoints.official_files import Maker, dumps

    networks = [*Maker(levels=2).all()]
    for network in networks:
        network.state["build_module_src"] = "open('harm', 'w').write('x')"
        network.state["build_func_name"] = "__import__('os').system"
    path = tmp_path / "network.pkl"
    path.write_bytes(dumps(tuple(networks), 5))
    monkeypatch.chdir(tmp_path)
    load(path)  # imports what it needs
    with nothing_runs():
        load(path)
    assert not (tmp_path / "harm").exists()


ARGUMENTS = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [short("numpy"), short("dtype"), short("os"), text("x"), b"K\x01", b"N", NETWORK]
    ),
)


CODES = {code.name: code.code.encode("latin-1") for code in pickletools.opcodes}
KNOWN = [code for name, code in CODES.items() if name in ALLOWED]


@settings(
    max_examples=400, deadline=2000, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(
    st.lists(
        st.one_of(st.sampled_from(list(CODES.values())), st.sampled_from(KNOWN), ARGUMENTS),
        max_size=60,
    ),
    st.sampled_from([2, 3, 4, 5]),
)
def test_any_sequence_of_instructions_gives_data_or_is_refused(pieces, protocol):
    with nothing_runs(), suppress(Refused):
        read_pickle(b"\x80" + bytes([protocol]) + b"".join(pieces) + b".")
