import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2fnet.errors import StoreError
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance
from m2fnet.store import Missing, Store, StoreWriter
from m2fnet.store.layout import DTYPES

WIDTH = 5
LABELS = LabelSet("toy", ("joy", "anger"))


def make_manifest(folder: Path, count: int = 6, text: str = "hello") -> Manifest:
    utterances = tuple(
        Utterance(id=f"u{n}", corpus="toy", split="train", dialogue="d", index=n, text=text, label="joy")
        for n in range(count)
    )
    return Manifest("toy", LABELS, utterances).save(folder)


def make_vectors(manifest: Manifest, resolution: str = "utterance", dtype: str = "float32") -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        u.id: torch.randn((n + 1, WIDTH) if resolution == "frame" else (WIDTH,), generator=generator).to(DTYPES[dtype])
        for n, u in enumerate(manifest.utterances)
    }


def writer(folder: Path, manifest: Manifest, **changes) -> StoreWriter:
    return StoreWriter(
        folder, manifest, **{"modality": "text", "width": WIDTH, "extractor": {"class": "toy"}, **changes}
    )


def write(folder: Path, manifest: Manifest, vectors: dict[str, torch.Tensor], **changes) -> Store:
    with writer(folder, manifest, **changes) as store:
        for utterance in manifest.utterances:
            if utterance.id in vectors:
                store.add(utterance.id, vectors[utterance.id])
            else:
                store.add_missing(utterance.id, Missing("decode", "no picture"))
    return Store(folder)


@pytest.fixture
def manifest(tmp_path):
    return make_manifest(tmp_path / "manifest")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("resolution", ["utterance", "frame"])
@pytest.mark.parametrize("shard_bytes", [1, 50, 2**20])
def test_what_is_written_is_read_back_bit_by_bit(tmp_path, manifest, dtype, resolution, shard_bytes):
    vectors = make_vectors(manifest, resolution, dtype)
    store = write(tmp_path / "s", manifest, vectors, dtype=dtype, resolution=resolution, shard_bytes=shard_bytes)
    assert len(store) == len(vectors)
    for name, vector in vectors.items():
        assert store[name].dtype == DTYPES[dtype]
        assert torch.equal(store[name], vector)
    store.require(manifest)
    store.verify()


def test_the_index_is_all_that_opening_needs_to_find_a_vector_in_any_order(tmp_path, manifest):
    vectors = make_vectors(manifest)
    store = write(tmp_path / "s", manifest, vectors, shard_bytes=50)
    order = ["u4", "u0", "u4", "u5"]
    matrix, present = store.matrix(order)
    assert torch.equal(matrix, torch.stack([vectors[name] for name in order]))
    assert present.all()


def test_a_buffer_may_be_filled_again_after_adding(tmp_path, manifest):
    buffer = torch.zeros(WIDTH)
    with writer(tmp_path / "s", manifest) as store:
        for number, utterance in enumerate(manifest.utterances):
            store.add(utterance.id, buffer.fill_(number))
    matrix, _ = Store(tmp_path / "s").matrix([u.id for u in manifest.utterances])
    assert matrix[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_matrix_of_many_shards_and_blocks_is_float32_in_the_asked_order(tmp_path, dtype):
    manifest = make_manifest(tmp_path / "manifest", count=700)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(700, WIDTH, generator=generator).to(DTYPES[dtype])
    ids = [u.id for u in manifest.utterances]
    store = write(
        tmp_path / "s", manifest, dict(zip(ids, vectors, strict=True)), dtype=dtype, shard_bytes=300 * vectors[0].nbytes
    )
    order = torch.randperm(700, generator=generator).tolist()
    matrix, present = store.matrix([ids[n] for n in order])
    assert matrix.dtype == torch.float32
    assert present.all()
    assert torch.equal(matrix, vectors[order].float())


def test_a_notebook_shows_what_is_in_it_and_why_the_rest_is_missing(tmp_path, manifest):
    with StoreWriter(tmp_path / "store", manifest, modality="text", width=3, extractor={}) as writer:
        first, *rest = (u.id for u in manifest.utterances)
        writer.add(first, torch.ones(3))
        for name in rest:
            writer.add_missing(name, Missing("text", "<b>nothing</b>"))
    store = Store(tmp_path / "store")
    table = store._repr_html_()
    assert "missing: text, &lt;b&gt;nothing" in table
    assert f"<td>{len(rest)}</td>" in table
    assert len(repr(store).splitlines()) == 1


def test_missing_is_told_apart_from_zero(tmp_path, manifest):
    vectors = make_vectors(manifest)
    vectors["u1"] = torch.zeros(WIDTH)
    del vectors["u2"]
    store = write(tmp_path / "s", manifest, vectors)
    matrix, present = store.matrix(["u1", "u2"])
    assert present.tolist() == [True, False]
    assert not matrix.any()
    assert store.missing == {"u2": Missing("decode", "no picture")}
    assert "u2" not in store
    with pytest.raises(StoreError, match=r"no embedding for 'u2': missing at decode: no picture"):
        store["u2"]


def test_meta_names_what_made_the_store(tmp_path, manifest):
    write(tmp_path / "s", manifest, make_vectors(manifest))
    meta = json.loads((tmp_path / "s" / "meta.json").read_text())
    assert meta["extractor"] == {"class": "toy"}
    assert meta["manifest_sha256"] == manifest.sha256
    assert meta["versions"]["torch"] == torch.__version__.split("+")[0]
    assert set(meta["sha256"]) == {"index.jsonl", "shard-00000.safetensors"}


def test_no_temporary_file_stays(tmp_path, manifest):
    write(tmp_path / "s", manifest, make_vectors(manifest), shard_bytes=50)
    assert not list((tmp_path / "s").glob(".*"))


def test_a_store_is_written_once(tmp_path, manifest):
    write(tmp_path / "s", manifest, make_vectors(manifest))
    with pytest.raises(StoreError, match="already holds a store; choose another folder, or remove this one"):
        writer(tmp_path / "s", manifest)


def test_interrupted_writing_leaves_no_readable_store_and_can_be_repeated(tmp_path, manifest):
    vectors = make_vectors(manifest)

    def write_half():
        with writer(tmp_path / "s", manifest, shard_bytes=1) as store:
            store.add("u0", vectors["u0"])
            store.add("u1", vectors["u1"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list((tmp_path / "s").glob("shard-*"))
    with pytest.raises(StoreError, match="m2fnet extract"):
        Store(tmp_path / "s")
    again = write(tmp_path / "s", manifest, vectors)
    assert torch.equal(again["u1"], vectors["u1"])
    again.verify()


def test_a_forgotten_utterance_makes_no_store(tmp_path, manifest):
    with (
        pytest.raises(StoreError, match=r"5 utterances .* neither embedded nor recorded as missing, the first is 'u1'"),
        writer(tmp_path / "s", manifest) as store,
    ):
        store.add("u0", torch.zeros(WIDTH))
    assert not (tmp_path / "s" / "meta.json").exists()


def test_unknown_and_repeated_utterances_are_refused(tmp_path, manifest):
    store = writer(tmp_path / "s", manifest)
    with pytest.raises(StoreError, match="'nobody' is not in the manifest"):
        store.add("nobody", torch.zeros(WIDTH))
    store.add("u0", torch.zeros(WIDTH))
    with pytest.raises(StoreError, match="'u0' was already added"):
        store.add_missing("u0", Missing("decode", "late"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused_by_name(tmp_path, manifest, value):
    vector = torch.zeros(WIDTH)
    vector[3] = value
    with pytest.raises(StoreError, match=r"'u0' holds NaN or infinity as float32; find out why, or record"):
        writer(tmp_path / "s", manifest).add("u0", vector)


def test_a_number_too_large_for_the_stored_type_is_refused(tmp_path, manifest):
    with pytest.raises(StoreError, match="infinity as float16; store float32 or bfloat16"):
        writer(tmp_path / "s", manifest, dtype="float16").add("u0", torch.full((WIDTH,), 70000.0))
    writer(tmp_path / "t", manifest, dtype="bfloat16").add("u0", torch.full((WIDTH,), 70000.0))


@pytest.mark.parametrize(
    ("resolution", "shape"),
    [
        ("utterance", (4,)),
        ("utterance", (1, 5)),
        ("utterance", ()),
        ("frame", (5,)),
        ("frame", (0, 5)),
        ("frame", (2, 4)),
    ],
)
def test_a_wrong_shape_is_refused(tmp_path, manifest, resolution, shape):
    with pytest.raises(StoreError, match=r"'u0' has shape .*expected .*D = 5"):
        writer(tmp_path / "s", manifest, resolution=resolution).add("u0", torch.zeros(shape))


@pytest.mark.parametrize("changes", [{"dtype": "float64"}, {"modality": "smell"}, {"resolution": "word"}, {"width": 0}])
def test_wrong_settings_are_refused(tmp_path, manifest, changes):
    with pytest.raises(StoreError, match=r"Expected .* but got"):
        writer(tmp_path / "s", manifest, **changes)


def test_a_manifest_without_hash_is_refused(tmp_path, manifest):
    unsaved = Manifest("toy", LABELS, manifest.utterances)
    with pytest.raises(StoreError, match="save it first"):
        writer(tmp_path / "s", unsaved)


def test_another_manifest_is_refused(tmp_path, manifest):
    store = write(tmp_path / "s", manifest, make_vectors(manifest))
    other = make_manifest(tmp_path / "other", text="bye")
    with pytest.raises(StoreError, match=r"was made for the manifest .*`m2fnet extract --manifest`"):
        store.require(other)


def test_unknown_ids_are_refused_with_the_command_to_run(tmp_path, manifest):
    store = write(tmp_path / "s", manifest, make_vectors(manifest))
    with pytest.raises(StoreError, match=r"knows nothing of 1 utterances, the first is 'u9'.*m2fnet extract"):
        store.matrix(["u0", "u9"])
    with pytest.raises(StoreError, match="'u9': not known to this store"):
        store["u9"]


def test_sequences_do_not_make_a_matrix_and_vectors_no_sequences(tmp_path, manifest):
    store = write(tmp_path / "s", manifest, make_vectors(manifest, "frame"), resolution="frame")
    with pytest.raises(StoreError, match="holds sequences of vectors"):
        store.matrix(["u0"])
    with pytest.raises(StoreError, match="holds one vector per utterance, expected sequences; use `matrix`"):
        write(tmp_path / "v", manifest, make_vectors(manifest)).sequences(["u0"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shard_bytes", [1, 150, 2**20])
@given(order=st.permutations(range(6)), count=st.integers(0, 6))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sequences_are_the_frames_of_each_utterance_in_the_asked_order(
    tmp_path_factory, manifest, dtype, shard_bytes, order, count
):
    vectors = make_vectors(manifest, "frame", dtype)
    del vectors["u3"]
    store = write(
        tmp_path_factory.mktemp("s"), manifest, vectors, dtype=dtype, resolution="frame", shard_bytes=shard_bytes
    )
    ids = [f"u{n}" for n in order[:count]]
    sequences = store.sequences(ids)
    assert len(sequences) == count
    assert sequences.present.tolist() == [name in vectors for name in ids]
    assert sequences.values.dtype == DTYPES[dtype]
    nothing = torch.zeros(0, WIDTH, dtype=DTYPES[dtype])
    for place, name in enumerate(ids):
        assert torch.equal(sequences[place], vectors.get(name, nothing))


def test_neighbours_on_disk_are_a_view_of_the_map_and_others_a_copy_of_what_was_asked_for(tmp_path, manifest):
    store = write(tmp_path / "s", manifest, make_vectors(manifest, "frame"), resolution="frame")
    (shard,) = store._shards
    inside = range(shard.data_ptr(), shard.data_ptr() + shard.nbytes)
    assert store.sequences(["u1", "u2", "u3"]).values.data_ptr() == shard[1:].data_ptr()
    copied = store.sequences(["u2", "u1"]).values
    assert copied.data_ptr() not in inside
    assert copied.untyped_storage().nbytes() == copied.nbytes


def test_padded_sequences_are_zero_behind_their_ends(tmp_path, manifest):
    vectors = make_vectors(manifest, "frame")
    del vectors["u4"]
    sequences = write(tmp_path / "s", manifest, vectors, resolution="frame").sequences(["u0", "u1", "u2", "u4"])
    padded, frames = sequences.padded(torch.tensor([[1, 0, -1], [3, 1, 0]]))
    assert padded.shape == (2, 3, 2, WIDTH)
    assert frames.sum(-1).tolist() == [[2, 1, 0], [0, 2, 1]]
    assert torch.equal(padded[0, 0], vectors["u1"])
    assert torch.equal(padded[1, 2, 0], vectors["u0"][0])
    assert not padded[~frames].any()
    assert sequences.padded(torch.tensor([3, -1]))[0].shape == (2, 1, WIDTH)  # nothing there is still a batch


def test_a_store_is_a_table(tmp_path, manifest):
    vectors = make_vectors(manifest)
    del vectors["u2"]
    table = write(tmp_path / "s", manifest, vectors).to_pandas()
    assert table.index.name == "id"
    assert list(table.columns) == ["present", "reason", *range(WIDTH)]
    assert table.loc["u4", range(WIDTH)].tolist() == pytest.approx(vectors["u4"].tolist())
    assert (table["present"].sum(), table["reason"].count()) == (5, 1)
    assert table.loc["u2", "reason"] == "decode: no picture"
    assert table.loc["u2", range(WIDTH)].isna().all()


def test_a_store_of_sequences_is_a_table_with_a_row_per_frame(tmp_path, manifest):
    vectors = make_vectors(manifest, "frame")
    del vectors["u2"]
    table = write(tmp_path / "s", manifest, vectors, resolution="frame").to_pandas()
    assert table.index.names == ["id", "frame"]
    assert len(table) == sum(map(len, vectors.values())) + 1
    assert torch.equal(torch.tensor(table.loc["u5", range(WIDTH)].to_numpy()), vectors["u5"])
    assert table.loc["u2", "reason"].tolist() == ["decode: no picture"]
    assert table.loc["u2", range(WIDTH)].isna().all(axis=None)


def test_a_folder_without_store_and_a_newer_format_are_refused(tmp_path, manifest):
    with pytest.raises(StoreError, match=r"Cannot read .*meta.json.*m2fnet extract"):
        Store(tmp_path / "nothing")
    write(tmp_path / "s", manifest, make_vectors(manifest))
    meta = tmp_path / "s" / "meta.json"
    meta.write_text(meta.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(StoreError, match="has store format 99, expected 1"):
        Store(tmp_path / "s")


@pytest.mark.parametrize("name", ["index.jsonl", "shard-00000.safetensors", "meta.json"])
def test_an_absent_file_is_named(tmp_path, manifest, name):
    write(tmp_path / "s", manifest, make_vectors(manifest))
    (tmp_path / "s" / name).unlink()
    with pytest.raises(StoreError, match=name):
        Store(tmp_path / "s")


def test_verify_names_the_shard_whose_numbers_changed(tmp_path, manifest):
    store = write(tmp_path / "s", manifest, make_vectors(manifest))
    shard = tmp_path / "s" / "shard-00000.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.unlink()
    shard.write_bytes(content)
    store = Store(tmp_path / "s")
    with pytest.raises(StoreError, match=r"shard-00000.safetensors is not as it was written"):
        store.verify()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    manifest = make_manifest(folder / "manifest")
    vectors = make_vectors(manifest)
    del vectors["u3"]
    write(folder / "s", manifest, vectors, shard_bytes=50)
    return folder, manifest, vectors


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_a_store_error_or_changes_no_vector(sound, data):
    folder, manifest, vectors = sound
    copy = folder / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "s", copy)
    victim = data.draw(st.sampled_from(sorted(p.name for p in copy.iterdir())))
    content = bytearray((copy / victim).read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (copy / victim).write_bytes(content)
    try:
        store = Store(copy)
        store.require(manifest)
        store.verify()
        matrix, present = store.matrix([u.id for u in manifest.utterances])
    except StoreError:
        return
    assert [u.id for u, here in zip(manifest.utterances, present, strict=True) if here] == list(vectors)
    assert torch.equal(matrix[present], torch.stack(list(vectors.values())))
    assert all(torch.equal(store[name], vector) for name, vector in vectors.items())
