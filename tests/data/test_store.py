"""Stores give back every number, refuse what does not belong together, and name what is damaged."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextham import __version__
from nextham.core import LCAOSystem, OrbitalBasis, SpinLayout
from nextham.data.certificate import Certificate
from nextham.data.checks import certify
from nextham.data.record import Rows
from nextham.data.settings import StoreSettings
from nextham.data.store import Store, StoreWriter, merge_stores
from nextham.data.verify import verify
from nextham.exceptions import InputError
from nextham.testing import magnetic, synthetic_system, zincblende
from nextham.units import RYDBERG_EV

SMALL = StoreSettings(structures_per_shard=2, chunk_numbers=1024, fraction_bits=None)
BASIS = OrbitalBasis.parse("Ga:2s2p1d As:2s2p1d Si:1s1p O:1s1p")


def make(id: str, first: str = "Ga", second: str = "As", *, seed: int = 0) -> LCAOSystem:
    crystal = zincblende(first, second, rattle_ang=0.05)
    return synthetic_system(crystal, BASIS, id=id, cutoff_ang=4.0, seed=seed)


def write(path: Path, *systems: LCAOSystem, settings: StoreSettings = SMALL) -> Store:
    with StoreWriter(path, settings=settings) as writer:
        for system in systems:
            writer.add(system)
    return Store(path)


def difference(a: LCAOSystem, b: LCAOSystem) -> float:
    """Largest difference of any number of any operator, in the full layout."""
    assert set(a.operators) == set(b.operators)
    full = SpinLayout.FULL
    pairs = [(a.operator(n).with_layout(full), b.operator(n).with_layout(full)) for n in a.operators]
    return max((float(np.abs((x - y).values).max()) for x, y in pairs), default=0.0)


def assert_same(a: LCAOSystem, b: LCAOSystem, tolerance: float = 1e-12) -> None:
    assert (a.pairs, a.meta, a.basis, a.structure()) == (b.pairs, b.meta, b.basis, b.structure())
    assert difference(a, b) <= tolerance


def test_every_number_comes_back(tmp_path: Path) -> None:
    systems = [
        make("ga", seed=1),
        make("sio", "Si", "O", seed=2),
        magnetic(make("magnetic", seed=3)),
        make("h0-only", seed=4).without("hamiltonian"),
        make("scf-only", seed=5).without("h0"),
        make("bare").without("overlap", "h0", "hamiltonian"),
    ]
    store = write(tmp_path / "store", *systems)
    assert store.ids == tuple(s.ids[0] for s in systems)
    assert len(store.shards) == 3
    for k, (system, found) in enumerate(zip(systems, store, strict=True)):
        assert_same(found, system)
        assert_same(store[k], system)
        assert store.operators_of(k) == tuple(found.operators)
    assert store.stored_of("ga") == ("overlap", "h0", "correction")
    assert store.stored_of("scf-only") == ("overlap", "hamiltonian")
    assert store.basis == BASIS
    assert store.h0_definition == "synthetic"
    assert "ga" in store
    assert "Ga" not in store
    assert verify(store) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(held=st.sets(st.integers(0, 7)), seed=st.integers(0, 99))
def test_any_set_of_rows_comes_back(held: set[int], seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(8, 5))
    rows[[row for row in range(8) if row not in held]] = 0
    values = rows[0::2] + 1j * rows[1::2]
    stored, dropped = Rows.of(values, 0.0)
    assert dropped == 0
    assert stored.mask == sum(1 << row for row in held | {0})
    back = stored.expanded()
    widest = back if len(back) == 4 else np.concatenate([back, np.zeros((3, 5))])
    if SpinLayout.of(back) is SpinLayout.TIME_REVERSAL:
        widest = np.concatenate([back[:1], 1j * back[1:]])
    np.testing.assert_array_equal(widest, values)


def test_noise_below_half_a_printed_digit_is_left_out_and_recorded(tmp_path: Path) -> None:
    quiet = make("quiet")
    noise = 4e-10 * RYDBERG_EV
    full = np.array(quiet.operator("hamiltonian").with_layout(SpinLayout.FULL).values)
    full[3] += noise
    store = write(tmp_path / "store", quiet.with_operator("hamiltonian", full))
    record = store.record("quiet")
    assert record.stored["correction"].mask == 1
    assert record.dropped_ev == pytest.approx(noise, rel=1e-6)
    assert store.manifest["dropped_ev"].item() == record.dropped_ev
    assert difference(store["quiet"], quiet) < 1e-12


def test_what_is_above_half_a_printed_digit_is_kept(tmp_path: Path) -> None:
    quiet = make("loud")
    full = np.array(quiet.operator("hamiltonian").with_layout(SpinLayout.FULL).values)
    full[3] += 6e-10 * RYDBERG_EV
    loud = quiet.with_operator("hamiltonian", full)
    store = write(tmp_path / "store", loud)
    assert store.record("loud").stored["correction"].mask == 0b1000001  # Re h_0, Re h_z
    assert_same(store["loud"], loud)


def test_rounding_is_far_below_what_is_printed_and_recorded(tmp_path: Path) -> None:
    systems = [make("a"), magnetic(make("b")), make("c").without("h0")]
    store = write(tmp_path / "store", *systems, settings=StoreSettings())
    for system in systems:
        found, id = store[system.ids[0]], system.ids[0]
        assert 0 < difference(found, system) <= 2.0**-34  # 2^-35 for the real and the imaginary part
        for values in found.operators.values():
            np.testing.assert_array_equal(values * 2.0**34, np.rint(values * 2.0**34))
        assert store.record(id).rounding == pytest.approx(difference(found, system), rel=0.5)
    assert store.about["settings"]["fraction_bits"] == 34
    assert list(store.manifest["rounding"]) == [store.record(id).rounding for id in store.ids]


def test_real_run(tmp_path: Path, alsb: LCAOSystem) -> None:
    certificate = certify(alsb)
    with StoreWriter(tmp_path / "store") as writer:
        writer.add(alsb, certificate=certificate)
    store = Store(tmp_path / "store")
    assert_same(store[0], alsb, 1e-9 * RYDBERG_EV)
    assert store.certificate(0) == certificate
    assert store.provenance(0) == alsb.meta[0]
    row = store.manifest.iloc[0]
    assert (row["id"], row["formula"], row["n_pairs"]) == (alsb.ids[0], "AlSb", alsb.pairs.n_pairs)
    assert row["overlap_condition"] == certificate.overlap_condition
    assert row["sha256"] == store.record(0).sha256


def test_predictions_hold_a_hamiltonian_or_a_correction_alone(tmp_path: Path) -> None:
    reference = make("a")
    predicted = write(tmp_path / "h", reference.without("overlap", "h0"))
    assert predicted.operators_of("a") == ("hamiltonian",)
    assert difference(predicted["a"], reference.without("overlap", "h0")) == 0
    with StoreWriter(tmp_path / "c") as writer:
        bare = reference.without("overlap", "h0", "hamiltonian")
        writer.add(bare, correction=reference.correction)
    corrections = Store(tmp_path / "c")
    assert corrections.operators_of("a") == ()
    np.testing.assert_allclose(corrections.correction("a").values, reference.correction.values[:1], atol=2.0**-35)
    with pytest.raises(InputError) as raised:
        corrections.read("a", ("hamiltonian",))
    assert (
        str(raised.value) == "a holds no hamiltonian, only correction; its H is the correction plus the reference's h0"
    )
    with pytest.raises(InputError) as raised:
        predicted.correction("a")
    assert str(raised.value) == "a holds no correction, only hamiltonian"


def test_only_the_named_operators_are_read(tmp_path: Path) -> None:
    store = write(tmp_path / "store", make("a"))
    assert set(store.read("a", ("overlap",)).operators) == {"overlap"}
    assert set(store.read("a", ()).operators) == set()
    assert set(store.read("a", ("hamiltonian",)).operators) == {"hamiltonian"}


def test_packing_keeps_every_stored_number_and_the_ledgers(tmp_path: Path) -> None:
    first = write(tmp_path / "1", make("a", seed=1), magnetic(make("b", seed=2)))
    with StoreWriter(tmp_path / "2") as writer:
        writer.add(make("c", "Si", "O"), certificate=Certificate(passed=("finite",), gap_ev=1.5))
        writer.ledger.failure("d", "scf", "unconverged", "d did not converge")
    with StoreWriter(tmp_path / "3", allow_empty=True) as writer:
        writer.ledger.failure("e", "scf", "timeout", "e took too long")
    assert len(Store(tmp_path / "3")) == 0
    merge_stores([tmp_path / "1", tmp_path / "2", tmp_path / "3"], tmp_path / "all")
    packed = Store(tmp_path / "all")
    assert packed.ids == ("a", "b", "c")
    assert [packed.checksum(id) for id in "ab"] == [first.checksum(id) for id in "ab"]
    assert packed.record("c").certificate == Certificate(passed=("finite",), gap_ev=1.5)
    assert packed.ledger is not None
    assert packed.ledger.summary() == {"unconverged": 1, "timeout": 1}
    assert verify(packed) == []


def test_a_store_opens_in_another_process(tmp_path: Path) -> None:
    store = write(tmp_path / "store", make("a"))
    assert_same(pickle.loads(pickle.dumps(store))["a"], store["a"])


# --- what does not belong together ---------------------------------------------------------------------------------


def refused(path: Path, *systems: LCAOSystem) -> str:
    with pytest.raises(InputError) as raised:
        write(path, *systems)
    assert list(path.parent.iterdir()) == []
    return str(raised.value)


def test_an_id_twice(tmp_path: Path) -> None:
    path = tmp_path / "store"
    assert refused(path, make("a"), make("a")) == f"a is in {path} already; ids must differ"


def test_two_h0_definitions(tmp_path: Path) -> None:
    path = tmp_path / "store"
    assert refused(path, make("a"), make("b").with_meta(h0_definition="other")) == (
        f"b has the H0 definition 'other', the structures before it in {path} have 'synthetic'; "
        "write them to two stores"
    )


def test_two_bases_of_an_element(tmp_path: Path) -> None:
    path = tmp_path / "store"
    other = synthetic_system(zincblende("Si", "Si"), OrbitalBasis.parse("Si:2s2p1d"), id="b", cutoff_ang=3.0)
    assert refused(path, make("a", "Si", "O"), other) == (
        f"b does not fit into {path}: Si has two orbital bases, 1s1p and 2s2p1d; use one basis in a store"
    )


def test_no_structure(tmp_path: Path) -> None:
    path = tmp_path / "store"
    assert refused(path) == f"there is no structure to write to {path}"


def test_an_existing_store_is_replaced_only_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "store"
    write(path, make("a"))
    with pytest.raises(InputError, match="exists already; choose another name or pass --overwrite"):
        write(path, make("b"))
    with StoreWriter(path, overwrite=True) as writer:
        writer.add(make("b"))
    assert Store(path).ids == ("b",)
    assert [p.name for p in tmp_path.iterdir()] == ["store"]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").touch()
    with (
        pytest.raises(InputError, match="is not a store, so it is not overwritten"),
        StoreWriter(tmp_path / "notes", overwrite=True),
    ):
        pass


# --- damaged stores ------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return write(tmp_path / "store", make("a", seed=1), make("b", seed=2), make("c", seed=3))


def complaint(path: Path, id: str = "b") -> str:
    with pytest.raises(InputError) as raised:
        Store(path)[id]
    return str(raised.value)


def test_a_flipped_byte_is_found_and_named(store: Store) -> None:
    file = store.path / "shard-00000.zarr" / "h0" / "c" / "0"
    content = bytearray(file.read_bytes())
    content[int(0.75 * len(content))] ^= 0xFF
    file.write_bytes(bytes(content))
    said = complaint(store.path)
    assert said.startswith(f"{store.path}: the h0 of b cannot be read from shard-00000.zarr (")
    assert said.endswith("); the shard is damaged: fetch or pack it again")
    assert_same(Store(store.path)["c"], make("c", seed=3))  # the other shard is whole
    problems = verify(Store(store.path))
    assert problems[0] == (
        f"{store.path}: the files of shard-00000.zarr are not those that were written; fetch it again"
    )
    assert said in problems


@pytest.mark.parametrize("name", ["overlap", "h0", "correction"])
def test_a_lost_file_of_numbers_is_not_read_as_zeros(store: Store, name: str) -> None:
    (store.path / "shard-00000.zarr" / name / "c" / "0").unlink()
    assert complaint(store.path) == (
        f"{store.path}: the {name} of b cannot be read from shard-00000.zarr (numbers are missing or NaN); "
        "the shard is damaged: fetch or pack it again"
    )


@pytest.mark.parametrize("name", ["atom_ptr", "numbers/c/0", "positions/c/0/0", "pair_R/c/0/0", "h0_rows/c/0"])
def test_a_lost_index_is_named(store: Store, name: str) -> None:
    target = store.path / "shard-00000.zarr" / name
    target.rename(store.path / "elsewhere")
    assert "the shard is damaged: fetch or pack it again" in complaint(store.path)


def test_a_file_cut_short(store: Store) -> None:
    file = store.path / "shard-00000.zarr" / "h0" / "c" / "0"
    file.write_bytes(file.read_bytes()[:100])
    assert "the shard is damaged: fetch or pack it again" in complaint(store.path)


def test_a_lost_shard(store: Store) -> None:
    (store.path / "shard-00001.zarr").rename(store.path / "elsewhere")
    assert complaint(store.path) == f"{store.path} lacks shard-00001.zarr (1 structures); fetch it again"


def test_numbers_exchanged_behind_our_back(store: Store) -> None:
    import zarr

    zarr.open_group(store.path / "shard-00001.zarr", mode="r+")["overlap"][5] = 0.125  # type: ignore[index]
    assert f"{store.path}: the numbers of c are not those that were written; fetch shard-00001.zarr again" in verify(
        Store(store.path)
    )


def edited(store: Store, **changes: object) -> Path:
    file = store.path / "store.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return store.path


def test_a_store_of_another_version(store: Store) -> None:
    path = edited(store, schema_version=99, code_version="7.0.0")
    assert complaint(path) == (
        f"{path} has version 99 of the layout, written by nextham 7.0.0; this is nextham {__version__}, "
        "which reads version 1: upgrade nextham"
    )
    edited(store, schema_version=0, code_version="0.0.1")
    assert complaint(path) == (
        f"{path} has version 0 of the layout, written by nextham 0.0.1; this is nextham {__version__}, "
        "which reads versions from 1 on: pack it again from its sources"
    )
    edited(store, schema_version="1")
    assert complaint(path) == f"{path} names '1' as its version, which is no number; fetch or pack it again"


def test_a_shard_of_a_newer_version_is_refused_by_name(store: Store) -> None:
    file = store.path / "shard-00000.zarr" / "zarr.json"
    content = json.loads(file.read_text())
    assert content["attributes"]["schema_version"] == 1
    content["attributes"] |= {"schema_version": 2, "code_version": "7.0.0"}
    file.write_text(json.dumps(content))
    assert complaint(store.path) == (
        f"{store.path}/shard-00000.zarr has version 2 of the layout, written by nextham 7.0.0; "
        f"this is nextham {__version__}, which reads version 1: upgrade nextham"
    )
    del content["attributes"]["schema_version"], content["attributes"]["code_version"]  # as before shards named it
    file.write_text(json.dumps(content))
    assert_same(Store(store.path)["b"], make("b", seed=2))


def test_a_shard_outside_the_store(store: Store) -> None:
    path = edited(store, shards=[{"name": "../../etc", "ids": ["a"], "bytes": 1, "sha256": ""}])
    assert complaint(path) == (
        f"{path}/store.json names the shard '../../etc', which is not a name like shard-00000.zarr"
    )


def test_ids_of_another_store(store: Store) -> None:
    about = json.loads((store.path / "store.json").read_text())["shards"]
    about[0]["ids"] = ["b", "a"]
    assert "the ids differ from those in store.json" in complaint(edited(store, shards=about))


def test_an_unreadable_description(store: Store) -> None:
    (store.path / "store.json").write_text('{"schema_version": 1, "shards": [')
    assert complaint(store.path).startswith(f"{store.path}/store.json is damaged (")


def test_what_is_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        Store(tmp_path)
    assert str(raised.value) == (
        f"{tmp_path} is not a store: it has no store.json; give the folder that a command wrote with -o"
    )
    with pytest.raises(InputError) as raised:
        Store(tmp_path / "x")
    assert str(raised.value) == f"{tmp_path}/x does not exist; give the folder that a command wrote with -o"


def test_an_unknown_id(store: Store) -> None:
    assert complaint(store.path, "bb") == f"{store.path} has no structure bb; did you mean b?"


def test_a_lost_manifest(store: Store) -> None:
    (store.path / "manifest.parquet").unlink()
    with pytest.raises(InputError, match=r"the manifest .* cannot be read .*; pack the store again"):
        _ = Store(store.path).manifest
