import collections
import pickle
import pickletools
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2fnet.errors import CorpusError, M2FNetError, UnsafePickleError
from m2fnet.store.safe_pickle import load_plain

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture
def load(tmp_path):
    def load(content: bytes) -> object:
        (tmp_path / "features.pkl").write_bytes(content)
        return load_plain(tmp_path / "features.pkl")

    return load


KEYS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
PLAIN = st.recursive(
    KEYS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.sets(KEYS)
        | st.dictionaries(KEYS, inner).map(collections.OrderedDict)
        | st.frozensets(KEYS)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(PLAIN, st.sampled_from(PROTOCOLS))
def test_plain_data_is_read_as_python_reads_it(tmp_path_factory, content, protocol):
    path = tmp_path_factory.getbasetemp() / "plain.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    assert load_plain(path) == content


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", "int64", "uint8", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_read_with_their_type_shape_and_order(load, protocol, dtype, order):
    array = np.asarray(np.arange(24).reshape(2, 3, 4) % 2, dtype=dtype, order=order)
    content = pickle.dumps({"a": array, "again": array, "part": array[:, 1]}, protocol)
    # made two lines above; the arrays are no reference, since numpy writes a big-endian one in the machine's order
    loaded, expected = load(content), pickle.loads(content)
    assert loaded["a"] is loaded["again"]
    for name in expected:
        assert loaded[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(loaded[name], expected[name])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_scalars_become_numbers(load, protocol):
    loaded = load(pickle.dumps([np.int64(3), np.float32(2.5), np.bool_(True)], protocol))
    assert loaded == [3, 2.5, True]
    assert [type(value) for value in loaded] == [int, float, bool]


def test_a_defaultdict_becomes_a_dict(load):
    content = collections.defaultdict(list, {"a": [1]})
    assert load(pickle.dumps(content)) == {"a": [1]}
    assert type(load(pickle.dumps(content))) is dict


def test_shared_and_recursive_objects_stay_shared(load):
    content = [[1], None]
    content[1] = content
    loaded = load(pickle.dumps(content))
    assert loaded[1] is loaded


# what Python 2.7 writes for {'caf\xe9': numpy.array([1.5, -2.])} in protocols 0 and 2
PYTHON2 = {
    0: (
        b"(dp0\nS'caf\\xe9'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\n"
        b"tp6\nRp7\n(I1\n(I2\ntp8\ncnumpy\ndtype\np9\n(S'f8'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\n"
        b"I0\ntp14\nbI00\nS'\\x00\\x00\\x00\\x00\\x00\\x00\\xf8?\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\xc0'\np15\ntp16\nbs."
    ),
    2: (
        b"\x80\x02}q\x00U\x04caf\xe9q\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\x04"
        b"U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x02\x85q\x08cnumpy\ndtype\nq\tU\x02f8q\nK\x00K\x01\x87q\x0bRq\x0c(K\x03U\x01<q"
        b"\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89U\x10\x00\x00\x00\x00\x00\x00\xf8?\x00\x00\x00\x00\x00"
        b"\x00\x00\xc0q\x0ftq\x10bs."
    ),
}


@pytest.mark.parametrize("protocol", PYTHON2)
def test_python_2_pickles_are_read_as_latin_1(load, protocol):
    loaded = load(PYTHON2[protocol])
    assert list(loaded) == ["café"]
    np.testing.assert_array_equal(loaded["café"], [1.5, -2.0])


class Call:
    """Pickles as a call of whatever it is given."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


# no reader runs these; one that did would leave an empty file in the test's folder, no more
HOSTILE = {
    "os.system": b"cos\nsystem\n(S'touch pwned'\ntR.",
    "posix.system": pickle.dumps(["x", Call(__import__("os").system, ("touch pwned",))]),
    "builtins.eval": pickle.dumps(Call(eval, ("open('pwned', 'w')",))),
    "__builtin__.eval": b"c__builtin__\neval\n(S'1'\ntR.",
    "builtins.getattr": pickle.dumps(Call(getattr, (1, "real"))),
    "builtins.__import__": pickle.dumps(Call(__import__, ("os",))),
    "numpy.load": named("numpy", "load") + b"(S'x'\ntR.",
    "numpy.core.multiarray.fromfile": named("numpy.core.multiarray", "fromfile") + b".",
    "numpy.ndarray.tofile": pickle.dumps("x", 4)[:2] + b"\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    "os.path": b"\x80\x04\x8c\x02os\x8c\x04path\x93.",
    "pathlib.PosixPath": pickle.dumps(Call(__import__("pathlib").PosixPath, ("/",))),
    "datetime.date": pickle.dumps(__import__("datetime").date(2020, 1, 1)),
    "functools.partial": pickle.dumps(__import__("functools").partial(print)),
    "m2fnet.store.safe_pickle.load_plain": pickle.dumps(load_plain),
    "the instruction INST": b"(S'touch pwned'\nios\nsystem\n.",
    "the instruction OBJ": b"(cbuiltins\nlist\no.",
    "the instruction NEWOBJ": b"cbuiltins\nlist\n)\x81.",
    "the instruction NEWOBJ_EX": b"cbuiltins\nlist\n)}\x92.",
    "the instruction PERSID": b"Psomewhere\n.",
    "the instruction BINPERSID": b"K\x01Q.",
    "the instruction EXT1": b"\x82\x01.",
    "the instruction EXT2": b"\x83\x01\x00.",
    "the instruction EXT4": b"\x84\x01\x00\x00\x00.",
    "the instruction NEXT_BUFFER": b"\x80\x05\x97.",
    "a call of builtins.list": b"cbuiltins\nlist\n((lt R.".replace(b" ", b""),
    "a call of numpy.ndarray": named("numpy", "ndarray") + b"((I1000000000\nttR.",
    "a call of str": b"S'x'\n)R.",
    "a class whose name is not a string": b"\x80\x04K\x01K\x02\x93.",
    "the encoding 'rot13'": named("_codecs", "encode") + b"(S'x'\nS'rot13'\ntR.",
    "changing the attributes of a Name": named("numpy", "ndarray") + b"}S'x'\nS'y'\nsb.",
    "changing the attributes of a dict": b"}}b.",
    "filling a tuple as if it were a list": b")K\x01a.",
    "filling a str as if it were a dict": b"S'x'\nK\x01K\x02s.",
    "the number type 'O8'": pickle.dumps(np.array([{}], dtype=object)),
    "the number type 'V12'": pickle.dumps(np.zeros(2, dtype="f4,f8")),
    "the number type '1000000000f8'": named("numpy", "dtype") + b"(S'1000000000f8'\ntR.",
    "an array of another class than numpy's own": named("numpy.core.multiarray", "_reconstruct")
    + b"(S'x'\n(I0\ntS'b'\ntR.",
    "a tuple as a key": pickle.dumps({(1, 2): 3}),
    "a set of a dict": named("builtins", "set") + b"(}tR.",
}


@pytest.mark.parametrize("asked", HOSTILE)
def test_anything_else_is_refused_by_the_name_it_asked_for(load, asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafePickleError) as refused:
        load(HOSTILE[asked])
    assert f"asks for {asked};" in str(refused.value)
    assert "Nothing was run" in str(refused.value)
    assert not (tmp_path / "pwned").exists()


def array_state(shape: bytes, content: bytes) -> bytes:
    """A pickled array whose shape and content need not fit."""
    start = named("numpy.core.multiarray", "_reconstruct") + named("numpy", "ndarray") + b"(I0\ntS'b'\n\x87R"
    return start + b"(K\x01" + shape + named("numpy", "dtype") + b"(S'f8'\ntR\x89" + content + b"tb."


BROKEN = {
    "empty": b"",
    "text": b"id,label\n",
    "cut": pickle.dumps(list(range(1000)))[:-100],
    "no stop": b"K\x01",
    "stack underflow": b"R.",
    "mark underflow": b"t.",
    "unknown memo": b"h\x07.",
    "odd pairs": b"(K\x01d.",
    "a string without quotes": b"Sabc\n.",
    "huge string": b"\x8d" + struct.pack("<Q", 2**62) + b"x.",
    "huge bytes": b"\x8e" + struct.pack("<Q", 2**40) + b"x.",
    "huge bytearray": b"\x96" + struct.pack("<Q", 2**40) + b"x.",
    "huge frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"K\x01",
    "huge memo place": b"K\x01r\xff\xff\xff\x7fj\x01\x00\x00\x00.",
    "huge array": array_state(b"(I1000000000000\nt", b"C\x08" + bytes(8)),
    "negative shape": array_state(b"(I-1\nI-1\nt", b"C\x08" + bytes(8)),
    "shape of strings": array_state(b"(S'1'\nt", b"C\x08" + bytes(8)),
    "too many dimensions": array_state(b"(" + b"K\x01" * 100 + b"t", b"C\x08" + bytes(8)),
    "too few bytes": array_state(b"(K\x02t", b"C\x08" + bytes(8)),
    "long number": b"L" + b"9" * 5000 + b"L\n.",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_pickle_is_refused_without_filling_the_memory(load, name):
    tracemalloc.start()
    with pytest.raises(CorpusError, match=r"features\.pkl"):
        load(BROKEN[name])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize(
    "nest", [b"(" * 300_000, b"]" * 300_000 + b"a" * 299_999 + b".", b"K\x01" + b"\x85" * 300_000 + b"."]
)
def test_deep_nesting_neither_crashes_nor_hangs(load, nest):
    try:
        loaded = load(nest)
    except CorpusError:
        return
    assert isinstance(loaded, list | tuple)


def test_a_deep_tuple_is_no_key(load):
    with pytest.raises(UnsafePickleError, match="a tuple as a key"):
        load(b"}K\x01" + b"\x85" * 300_000 + b"K\x02s.")


def test_missing_files_and_folders_are_named(tmp_path):
    for path in (tmp_path / "nothing.pkl", tmp_path):
        with pytest.raises(CorpusError, match=str(path)):
            load_plain(path)


SEED = pickle.dumps({"a": [1, 2.5, "x", None, (1, 2)], "b": np.zeros((2, 3), np.float32)}, 2)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_is_refused_or_gives_plain_data(tmp_path_factory, data):
    content = bytearray(SEED)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    path.write_bytes(content)
    try:
        load_plain(path)
    except M2FNetError:
        return


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([op.code.encode("latin-1") for op in pickletools.opcodes]) | st.binary(max_size=3)))
def test_any_sequence_of_instructions_is_refused_or_gives_plain_data(tmp_path_factory, parts):
    path = tmp_path_factory.getbasetemp() / "random.pkl"
    path.write_bytes(b"".join(parts) + b".")
    try:
        loaded = load_plain(path)
    except M2FNetError:
        return
    assert type(loaded).__module__ in ("builtins", "m2fnet.store.safe_pickle", "numpy")
