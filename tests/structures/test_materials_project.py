"""The Materials Project without a network: queries, batches, interruptions, and every way a server can refuse."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_materials_project import KEY, FakeClient, document, serving
from pydantic import ValidationError
from typer.testing import CliRunner

from nextham.cli import app
from nextham.exceptions import InputError
from nextham.structures.files import read_each
from nextham.structures.mp.client import BusyError, MPAPIClient, UnreachableError, classified
from nextham.structures.mp.fetch import Patience, asked_ids, fetch, structure_of
from nextham.structures.settings import MaterialsProjectSettings
from nextham.testing import zincblende

IDS = [f"mp-{k}" for k in range(1, 11)]
KNOWN = [document(id) for id in IDS]


def query(tmp_path: Path, **settings) -> MaterialsProjectSettings:
    return MaterialsProjectSettings(cache=str(tmp_path / "cache"), batch=3, **settings)


def patience(attempts: int = 4) -> tuple[Patience, list[float]]:
    """Return a patience whose clock stands still, and the pauses that it made."""
    pauses: list[float] = []
    return Patience(1000.0, attempts, sleep=pauses.append, clock=lambda: 0.0), pauses


def fetched(settings: MaterialsProjectSettings, client: FakeClient, **more):
    return fetch(settings, lambda: client, patience=patience()[0], **more)


def fails_at(*calls: int, error: Callable[[], Exception] = lambda: BusyError("busy")) -> Callable[[int], None]:
    def trouble(call: int) -> None:
        if call in calls:
            raise error()

    return trouble


def test_ids_come_in_batches_with_source_licence_and_version(tmp_path):
    client = FakeClient(KNOWN)
    found = fetched(query(tmp_path, ids=tuple(IDS)), client)
    assert [len(ids) for ids in client.calls] == [3, 3, 3, 1]
    assert [each.id for each in found.gathered.found] == IDS
    one = found.gathered.found[0]
    assert (one.source, one.licence) == ("Materials Project mp-1", "CC-BY-4.0")
    assert one.facts["database"] == "2025.09.25"
    np.testing.assert_allclose(one.structure.positions, zincblende(a_ang=5.65).positions, atol=1e-8)
    assert (found.databases, found.asked_now) == (("2025.09.25",), 10)


def test_what_is_in_the_cache_needs_no_network(tmp_path):
    fetched(query(tmp_path, ids=tuple(IDS)), FakeClient(KNOWN))

    def connect():
        raise AssertionError("there is no network")

    again = fetch(query(tmp_path, ids=tuple(IDS)), connect)
    assert [each.id for each in again.gathered.found] == IDS
    assert again.asked_now == 0
    client = FakeClient(KNOWN, database="2026.01.01")
    assert fetched(query(tmp_path, ids=tuple(IDS)), client, refresh=True).databases == ("2026.01.01",)
    assert sum(map(len, client.calls)) == 10


def test_the_cache_holds_the_answers_as_they_came(tmp_path):
    found = fetched(query(tmp_path, ids=("mp-1",)), FakeClient(KNOWN))
    (batch,) = found.cache.glob("batch-*.json")
    content = json.loads(batch.read_text())
    assert content["documents"] == {"mp-1": KNOWN[0]}
    assert content["database"] == "2025.09.25"
    assert len(content["date"]) == 10
    assert KEY not in "".join(path.read_text() for path in found.cache.iterdir())


def test_conditions_are_asked_first_then_documents(tmp_path):
    client = FakeClient([*KNOWN[8:], document("mp-100", ("Si", "C")), *KNOWN[:2]])
    found = fetched(query(tmp_path, elements=("Ga",)), client)
    assert client.calls == [(), ["mp-1", "mp-2", "mp-9"], ["mp-10"]]
    assert len(found.gathered.found) == 4
    assert json.loads((found.cache / "asked.json").read_text())["query"] == {"elements": ["Ga"]}


def test_unknown_ids_are_told_and_counted_and_the_rest_goes_on(tmp_path):
    asked = ("mp-1", "mp-999", "nonsense", "mp-2", "mp-1")
    client = FakeClient(KNOWN)
    found = fetched(query(tmp_path, ids=asked), client).gathered
    assert [each.id for each in found.found] == ["mp-1", "mp-2"]
    assert found.reasons == {"unknown id": 2, "repeated id": 1}
    assert found.left_out[0].message == "mp-999: the Materials Project has no structure of this id"
    again = FakeClient(KNOWN)
    assert fetched(query(tmp_path, ids=asked), again).gathered == found
    assert again.calls == []  # not even for those that are not there


def test_an_interrupted_fetch_goes_on(tmp_path):
    settings = query(tmp_path, ids=tuple(IDS))
    with pytest.raises(KeyboardInterrupt):
        fetched(settings, FakeClient(KNOWN, trouble=fails_at(2, error=KeyboardInterrupt)))
    client = FakeClient(KNOWN)
    found = fetched(settings, client)
    assert [len(ids) for ids in client.calls] == [3, 1]
    assert len(found.gathered.found) == 10
    assert found.asked_now == 4


def test_a_damaged_batch_is_fetched_again(tmp_path):
    settings = query(tmp_path, ids=tuple(IDS))
    cache = fetched(settings, FakeClient(KNOWN)).cache
    first = min(cache.glob("batch-*.json"))
    first.write_text(first.read_text()[:50])
    client = FakeClient(KNOWN)
    assert len(fetched(settings, client).gathered.found) == 10
    assert len(client.calls) == 1


def test_a_database_that_changes_on_the_way_is_told(tmp_path):
    settings = query(tmp_path, ids=tuple(IDS))
    with pytest.raises(KeyboardInterrupt):
        fetched(settings, FakeClient(KNOWN, trouble=fails_at(2, error=KeyboardInterrupt)))
    found = fetched(settings, FakeClient(KNOWN, database="2026.01.01"))
    assert found.databases == ("2025.09.25", "2026.01.01")


def test_a_busy_server_is_asked_again_after_longer_and_longer_pauses(tmp_path):
    client = FakeClient(KNOWN, trouble=fails_at(0, 1, 2))
    asks, pauses = patience()
    found = fetch(query(tmp_path, ids=tuple(IDS)), lambda: client, patience=asks)
    assert len(found.gathered.found) == 10
    assert [pause for pause in pauses if pause >= 1] == [1.0, 2.0, 4.0]


def test_a_server_that_stays_busy_is_told_and_what_came_is_kept(tmp_path):
    client = FakeClient(KNOWN, trouble=lambda call: fails_at(call)(call) if call >= 2 else None)
    with pytest.raises(BusyError) as error:
        fetched(query(tmp_path, ids=tuple(IDS)), client)
    assert str(error.value).startswith("busy, 4 times; 6 of 10 structures are kept in ")
    assert str(error.value).endswith(", run the command again to go on")


def test_no_network_is_told_at_once(tmp_path):
    def connect():
        raise UnreachableError("the Materials Project cannot be reached; check the network")

    asks, pauses = patience()
    with pytest.raises(UnreachableError, match="cannot be reached"):
        fetch(query(tmp_path, elements=("Ga",)), connect, patience=asks)
    assert pauses == []


def test_a_network_that_breaks_on_the_way_is_waited_for(tmp_path):
    client = FakeClient(KNOWN, trouble=fails_at(1, 2, error=lambda: UnreachableError("gone")))
    assert len(fetched(query(tmp_path, ids=tuple(IDS)), client).gathered.found) == 10


def test_requests_keep_their_distance():
    now, pauses = [0.0], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    asks = Patience(4.0, 1, sleep=sleep, clock=lambda: now[0])
    for _ in range(3):
        asks.ask(lambda: None)
        now[0] += 0.1
    assert pauses == pytest.approx([0.15, 0.15])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "the query is empty, which would be the whole Materials Project; name elements"),
        ({"gnome": True}, "the query is empty"),
        ({"experimental": True, "without": ("O",)}, "the query is empty"),
        ({"ids": ("mp-1",), "hull_ev": 0.1}, "ids and conditions (hull_ev) do not go together"),
        ({"ids_from": ("nowhere.txt",)}, "there is no list of ids nowhere.txt"),
    ],
)
def test_a_bad_query_is_told(settings, sentence):
    with pytest.raises(InputError) as error:
        asked_ids(MaterialsProjectSettings(**settings))
    assert sentence in str(error.value)


def test_an_unknown_element_is_told():
    with pytest.raises(ValidationError, match="'Xx' is not an element symbol"):
        MaterialsProjectSettings(elements=("Xx",))
    with pytest.raises(ValidationError, match="'Xx' is not an element symbol"):
        MaterialsProjectSettings(chemical_systems=("Ga-Xx",))


def test_a_query_that_fits_nothing_is_told(tmp_path):
    with pytest.raises(InputError, match=r"^no structure of the Materials Project fits the query"):
        fetched(query(tmp_path, elements=("U",)), FakeClient(KNOWN))


def test_lists_of_ids_are_read_from_files(tmp_path):
    (tmp_path / "ids.txt").write_text("# ours\nmp-2  # GaAs\n\nmp-1")
    found = fetched(query(tmp_path, ids_from=(str(tmp_path / "ids.txt"),)), FakeClient(KNOWN))
    assert [each.id for each in found.gathered.found] == ["mp-2", "mp-1"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"species": [{"element": "Ga", "occu": 0.5}, {"element": "Al", "occu": 0.5}]}, "a site is partly occupied"),
        ({"species": [{"element": "Ga", "occu": 0.5}]}, "a site is partly occupied"),
        ({"species": [{"element": "Qq", "occu": 1}]}, "'Qq' is not an element symbol"),
        ({"abc": None}, "its document has no complete structure"),
    ],
)
def test_a_structure_that_cannot_be_used_is_told(change, sentence):
    bad = document("mp-7")
    bad["structure"]["sites"][0] |= change
    with pytest.raises(InputError, match=sentence):
        structure_of("mp-7", bad)


def test_licences():
    assert structure_of("mp-1", document("mp-1", builder_meta={"license": "BY-NC"})).licence == "CC-BY-NC-4.0"
    assert structure_of("mp-1", document("mp-1", builder_meta=None)).licence == "CC-BY-4.0"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("REST query returned with error status code 401 on URL x", InputError),
        ("REST query returned with error status code 403 on URL x with message:\nForbidden", InputError),
        ("Please obtain a valid API key from https://materialsproject.org/api", InputError),
        ("REST query returned with error status code 422 on URL x", InputError),
        (
            "HTTPSConnectionPool: Max retries exceeded (Caused by ResponseError('too many 429 error responses'))",
            BusyError,
        ),
        ("REST query returned with error status code 503 on URL x", BusyError),
        ("('Connection aborted.', RemoteDisconnected())", BusyError),
        ("Max retries exceeded (Caused by NameResolutionError: Temporary failure)", UnreachableError),
        ("Max retries exceeded (Caused by NewConnectionError: [Errno 111] Connection refused)", UnreachableError),
    ],
)
def test_what_went_wrong_is_told_apart(text, kind):
    assert type(classified(text)) is kind


def run(*words: str):
    return CliRunner().invoke(app, ["fetch-mp", *words])


def test_the_command_without_a_key_or_a_query(monkeypatch):
    monkeypatch.delenv("MP_API_KEY", raising=False)
    done = run("--dry-run", "--settings", "{elements: [Ga], cache: nowhere}")
    assert str(done.exception).startswith("MP_API_KEY is not set; the Materials Project needs a key: get one at https:")
    assert "the query is empty" in str(run("--dry-run").exception)


@pytest.fixture
def mp_api(monkeypatch):
    """The real mp-api with a key, where it is installed; each server of a test is a new endpoint."""
    pytest.importorskip("mp_api.client", reason="needs the extra mp")
    monkeypatch.setenv("MP_API_KEY", KEY)

    def connect_to(url: str) -> None:
        monkeypatch.setenv("MP_API_ENDPOINT", url)

    return connect_to


@pytest.mark.slow
def test_mp_api_itself(mp_api, tmp_path):
    with serving([*KNOWN, document("mp-11", nsites=200)]) as server:
        mp_api(server.url)
        asks = "{elements: [Ga], n_atoms: [1, 20], batch: 4, cache: " + str(tmp_path / "cache") + "}"
        done = run("--settings", asks, "-o", str(tmp_path / "set.extxyz"))
        assert done.exit_code == 0, done.output
        found = [each.sourced() for each in read_each(tmp_path / "set.extxyz")]
        assert [each.id for each in found] == IDS
        assert found[0].licence == "CC-BY-4.0"
        first = server.requests[0]
        assert (first["elements"], first["nsites_max"], first["deprecated"]) == ("Ga", "20", "False")
        assert first["batch_id_not_eq"] == "gnome_r2scan_statics"
        assert [len(each["material_ids"].split(",")) for each in server.requests[1:]] == [4, 4, 2]


@pytest.mark.slow
def test_mp_api_is_told_of_bad_keys_and_busy_servers(mp_api, tmp_path, monkeypatch):
    settings = query(tmp_path, ids=("mp-1", "mp-404"))
    with serving(KNOWN) as server:
        mp_api(server.url)
        monkeypatch.setenv("MP_API_KEY", "x" * 32)
        with pytest.raises(InputError, match=r"refuses the key in MP_API_KEY \(401\)"):
            fetch(settings, MPAPIClient)
        monkeypatch.setenv("MP_API_KEY", "short")
        with pytest.raises(InputError, match=r"refuses the key in MP_API_KEY \(not a key\)"):
            fetch(settings, MPAPIClient)
        monkeypatch.setenv("MP_API_KEY", KEY)
        server.statuses = [500, 503]
        asks, pauses = patience()
        found = fetch(settings, MPAPIClient, patience=asks)
        assert found.gathered.reasons == {"unknown id": 1}
        assert [pause for pause in pauses if pause >= 1] == [1.0, 2.0]
        server.statuses = [429] * 20
        with pytest.raises(BusyError, match="answered with status 429, 2 times"):
            fetch(settings, MPAPIClient, patience=patience(2)[0], refresh=True)
    mp_api(server.url.replace("127.0.0.1", "localhost"))  # nobody is there any more, and no heartbeat is remembered
    with pytest.raises(UnreachableError, match=r"^the Materials Project \(localhost\) cannot be reached; check the"):
        fetch(settings, MPAPIClient)
    assert "mp_api" in sys.modules
