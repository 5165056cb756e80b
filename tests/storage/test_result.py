"""Results of Hedra: which requests it takes to store one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hedra_provider.api import calls
from hedra_provider.hooks import HedraHook
from hedra_provider.operators import HedraAvatarVideoOperator
from hedra_provider.storage.result import store_result
from tests.media import png, wav
from tests.tasks import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hedra_provider.api.client import HedraClient
    from hedra_provider.records import Generation
    from hedra_provider.testing import Sandbox


@pytest.fixture
def client(hedra_sandbox: Sandbox) -> Iterator[HedraClient]:
    with HedraHook().get_conn() as made:
        yield made


@pytest.fixture
def finished(hedra_sandbox: Sandbox, client: HedraClient, tmp_path: Path) -> Generation:
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "a.wav").write_bytes(wav(1.0))
    made = run(
        HedraAvatarVideoOperator(
            task_id="a",
            image=str(tmp_path / "a.png"),
            audio=str(tmp_path / "a.wav"),
            resolution="540p",
        )
    )
    found = client.run(calls.get_status(made["generation_id"]))
    assert found
    return found


def gets(sandbox: Sandbox, since: int) -> list[tuple[str, int]]:
    """Return what was asked for since then, without ids, and the answers' statuses."""
    rows = sandbox.ledger()["requests"][since:]
    return [(row["path"].split("/")[1], row["status"]) for row in rows]


@pytest.mark.parametrize("known", [True, False])
def test_a_url_that_is_known_spares_a_request(
    hedra_sandbox: Sandbox, client: HedraClient, finished: Generation, tmp_path: Path, known: bool
):
    since = len(hedra_sandbox.ledger()["requests"])
    stored = store_result(
        client,
        HedraHook().service,
        f"{tmp_path}/out/",
        generation_id=finished.id,
        known=finished if known else None,
    )
    assert stored.uri == f"file://{tmp_path}/out/{finished.id}.mp4"
    assert stored.asset_id == finished.asset_id
    assert gets(hedra_sandbox, since) == ([] if known else [("generations", 200)]) + [("files", 200)]


def test_a_known_url_that_expired_is_replaced(
    hedra_sandbox: Sandbox, client: HedraClient, finished: Generation, tmp_path: Path
):
    hedra_sandbox.advance(7200)
    since = len(hedra_sandbox.ledger()["requests"])
    store_result(
        client, HedraHook().service, str(tmp_path / "a.mp4"), generation_id=finished.id, known=finished
    )
    assert gets(hedra_sandbox, since) == [("files", 403), ("generations", 200), ("files", 200)]
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("lacks", [{"file_url": None}, {"status": "finalizing"}])
def test_without_a_url_hedra_is_asked(
    hedra_sandbox: Sandbox,
    client: HedraClient,
    finished: Generation,
    tmp_path: Path,
    lacks: dict[str, str | None],
):
    since = len(hedra_sandbox.ledger()["requests"])
    known = replace(finished, **lacks)
    store_result(client, HedraHook().service, str(tmp_path / "a.mp4"), generation_id=finished.id, known=known)
    assert gets(hedra_sandbox, since) == [("generations", 200), ("files", 200)]
