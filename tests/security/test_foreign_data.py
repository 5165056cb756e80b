"""Foreign text in any field: a clear error before anything is spent, or exactly this text at Hedra."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from hedra_provider.api import calls
from hedra_provider.api.errors import HedraAPIError, HedraError, HedraValueError
from hedra_provider.exceptions import hedra_error
from hedra_provider.hooks import HedraHook
from hedra_provider.operators import (
    HedraAvatarVideoOperator,
    HedraCreditsCheckOperator,
    HedraDownloadOperator,
    HedraGenerateOperator,
    HedraUploadAssetOperator,
)
from hedra_provider.sensors import HedraCreditsSensor, HedraGenerationSensor
from hedra_provider.submission import identity
from tests.airflow_names import AirflowException, AirflowFailException
from tests.tasks import run, wait

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

FOREIGN = {
    "jinja": "{{ conn.hedra_default.password }}",
    "traversal": "../../etc/x",
    "megabyte": "long " * 200_000,
    "one long word": "x" * 1_000_000,
    "emoji": "👩‍👩‍👧 🚀",
    "right to left": "שלום \u202egnp.evil\u202c",
    "nul": "a\0b",
    "a lone surrogate": "a\ud800b",
    "lines": "a\r\nX-API-Key: b\n\n2026 INFO done",
    "escape": "\x1b[2J\x9b31m",
    "quotes": "\"'`;--<script>\\",
    "url": "http://127.0.0.1:1/x?sig=y",
}
ID = "33333333-3333-4333-8333-333333333333"
TEXT_FIELDS = ("text", "voice_id", "language", "text_prompt", "name")
INPUT_FIELDS = ("model", "aspect_ratio", "resolution", "image", "audio")
NUMBERS = ("speed", "stability", "duration_ms", "audio_start_ms", "seed", "max_credits")
OTHERS = ("destination", "idempotency_key", "workspace_id", "hedra_conn_id", "extra_request")

pytestmark = pytest.mark.hedra_sandbox(media=False)


@pytest.fixture(autouse=True)
def elsewhere_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Relative paths lead here, not into the checkout."""
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def voice_id(hedra_sandbox: Sandbox) -> str:
    with HedraHook().get_conn() as client:
        return str(client.run(calls.list_voices())[0].id)


def fit_for_a_log(said: str) -> bool:
    return not [c for c in said if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]


def error_of(do: Callable[[], Any]) -> HedraError | None:
    """Do it; return the error in which it ends, checked to be fit for a log, None where it does not."""
    try:
        do()
    except AirflowNotFoundException as error:
        return HedraValueError(str(error)[:200], param="hedra_conn_id")
    except AirflowException as error:
        cause, said = hedra_error(error), str(error)
    else:
        return None
    assert isinstance(cause, HedraError), said[:500]
    assert len(said) < 2000
    assert fit_for_a_log(said)
    return cause


def sent(sandbox: Sandbox) -> list[str]:
    """The requests that create something."""
    rows = sandbox.ledger()["requests"]
    return [row["path"] for row in rows if row["method"] != "GET"]


def at(request: Any, *path: str) -> Any:
    for name in path:
        request = request.get(name, {})
    return request


WHERE: dict[str, tuple[str, ...]] = {
    "text": ("audio_generation", "text"),
    "voice_id": ("audio_generation", "voice_id"),
    "language": ("audio_generation", "language"),
    "text_prompt": ("generated_video_inputs", "text_prompt"),
    "name": ("name",),
    "workspace_id": ("workspace_id",),
}


@pytest.mark.parametrize("field", TEXT_FIELDS + INPUT_FIELDS + NUMBERS + OTHERS)
def test_the_avatar_operator(
    hedra_sandbox: Sandbox, portrait: str, voice_id: str, field: str, elsewhere_folder: Path
):
    for kind, value in FOREIGN.items():
        hedra_sandbox.reset()
        arguments: dict[str, Any] = {
            "image": portrait,
            "text": "Hello",
            "voice_id": voice_id,
            "resolution": "540p",
        }
        if field == "audio":
            arguments |= {"text": None, "voice_id": None}
        arguments[field] = {"new_field": value} if field == "extra_request" else value
        if field == "destination":
            arguments[field] = f"{elsewhere_folder}/{value}"
        operator = HedraAvatarVideoOperator(task_id="avatar", poll_interval=0.01, **arguments)
        error = error_of(lambda operator=operator: run(operator))
        rows = hedra_sandbox.submissions
        if error is None:
            (row,) = rows
            if field in WHERE:
                assert at(row["request"], *WHERE[field]) == value, kind
            elif field == "extra_request":
                assert row["request"]["new_field"] == value
            elif field == "idempotency_key":
                namespace = HedraHook().settings.namespace
                assert row["generation_id"] == identity.generation_ids(namespace, value.strip())(0)[0]
            elif field == "destination":
                assert (elsewhere_folder / value).is_file(), kind
            else:
                raise AssertionError(f"{field} took {kind}")
        else:
            assert rows == [], (field, kind)
            if isinstance(error, HedraAPIError):
                # Hedra itself knows languages and workspaces.
                assert field in ("language", "workspace_id", "text", "text_prompt"), (field, kind, str(error))
            else:
                assert isinstance(error, HedraValueError), repr(error)
                named = "new_field" if field == "extra_request" else field
                assert named in f"{error.param} {error}", (field, kind, str(error))
                assert sent(hedra_sandbox) == [], (field, kind)
    assert not Path("/etc/x").exists()


PASSES = ("jinja", "traversal", "emoji", "right to left", "nul", "lines", "escape", "quotes", "url")


@pytest.mark.parametrize("field", ["text", "text_prompt", "name", "extra_request"])
def test_what_is_text_passes_exactly(hedra_sandbox: Sandbox, portrait: str, voice_id: str, field: str):
    """Valid text is not rejected: a name may be an emoji, and a text may show Jinja."""
    for kind in PASSES:
        value: Any = FOREIGN[kind]
        if field == "extra_request":
            value = {"audio_generation": {"text": value}}
        arguments = {"text": "Hello", field: value}
        run(
            HedraAvatarVideoOperator(
                task_id=f"avatar-{PASSES.index(kind)}", image=portrait, voice_id=voice_id, resolution="540p",
                idempotency_key=f"{field}-{kind}", **arguments,
            )
        )  # fmt: skip
    path = WHERE["text" if field == "extra_request" else field]
    assert [at(row["request"], *path) for row in hedra_sandbox.submissions] == [
        FOREIGN[kind] for kind in PASSES
    ]


@pytest.mark.parametrize(
    "field", ["name", "text", "voice_id", "new_field", "language", "type", "model_slug", "key"]
)
def test_the_generate_operator(hedra_sandbox: Sandbox, voice_id: str, field: str):
    for kind, value in FOREIGN.items():
        hedra_sandbox.reset()
        body: dict[str, Any] = {"type": "text_to_speech", "text": "Hello", "voice_id": voice_id}
        body |= {value: 1} if field == "key" else {field: value}
        error = error_of(lambda body=body: run(HedraGenerateOperator(task_id="g", request=body)))
        if error is None:
            (row,) = hedra_sandbox.submissions
            assert {name: row["request"][name] for name in body} == body
        else:
            assert hedra_sandbox.submissions == []
            assert isinstance(error, HedraAPIError | HedraValueError), repr(error)
            if kind == "a lone surrogate":
                assert isinstance(error, HedraValueError)
                assert hedra_sandbox.ledger()["requests"] == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1}, b"x", object(), {1: 2}, Path("x")])
def test_what_json_does_not_know(hedra_sandbox: Sandbox, value: Any):
    body = {"type": "text_to_speech", "deep": [{"odd_field": value}]}
    error = error_of(lambda: run(HedraGenerateOperator(task_id="g", request=body)))
    assert isinstance(error, HedraValueError)
    assert "odd_field" in str(error)
    assert hedra_sandbox.ledger()["requests"] == []


def test_what_has_no_end(hedra_sandbox: Sandbox):
    body: dict[str, Any] = {"type": "text_to_speech"}
    body["again"] = body
    operator = HedraGenerateOperator(task_id="g", request={})
    # Airflow itself, which searches it for XComs, would not end.
    operator.__dict__["request"] = body
    error = error_of(lambda: run(operator))
    assert isinstance(error, HedraValueError)


@pytest.mark.parametrize("field", ["source", "asset_type", "name", "workspace_id", "hedra_conn_id"])
def test_the_upload_operator(hedra_sandbox: Sandbox, portrait: str, field: str):
    for kind, value in FOREIGN.items():
        hedra_sandbox.reset()
        operator = HedraUploadAssetOperator(task_id="u", **({"source": portrait} | {field: value}))
        error = error_of(lambda operator=operator: run(operator))
        if error is None:
            assert field == "name"
            with HedraHook().get_conn() as client:
                (asset,) = client.run(calls.list_assets("image"))
            assert asset.name == value
        elif isinstance(error, HedraAPIError):
            assert field == "workspace_id"
        else:
            assert field in f"{error.param} {error}", (kind, str(error))
            assert sent(hedra_sandbox) == []


@pytest.mark.parametrize("field", ["generation_id", "asset_id", "asset_type", "destination", "hedra_conn_id"])
def test_the_download_operator(hedra_sandbox: Sandbox, tmp_path: Path, field: str):
    for kind, value in FOREIGN.items():
        hedra_sandbox.reset()
        arguments = {"destination": str(tmp_path / "x.mp4")} | {field: value}
        if field in ("asset_id", "asset_type"):
            arguments = {"asset_id": ID, "asset_type": "video"} | arguments
        elif field != "generation_id":
            arguments["generation_id"] = ID
        error = error_of(lambda arguments=arguments: run(HedraDownloadOperator(task_id="d", **arguments)))
        assert error is not None
        if isinstance(error, HedraValueError):
            assert field in f"{error.param} {error}", (kind, str(error))
            assert hedra_sandbox.ledger()["requests"] == []
        else:
            # A destination that may well be: here no such generation is there to fetch.
            assert field == "destination", (kind, str(error))
            assert kind in PASSES


@pytest.mark.parametrize(
    "field", ["audio", "text", "model", "resolution", "duration_ms", "max_credits", "speed"]
)
def test_the_credits_check(hedra_sandbox: Sandbox, field: str):
    for value in FOREIGN.values():
        row: dict[str, Any] = {"text": "Hello"}
        if field == "audio":
            row = {}
        arguments: dict[str, Any] = {"requests": [row | {field: value}]}
        if field == "max_credits":
            arguments = {"requests": [row], "max_credits": value}
        error = error_of(lambda arguments=arguments: run(HedraCreditsCheckOperator(task_id="c", **arguments)))
        assert error is None or isinstance(error, HedraError)
    assert sent(hedra_sandbox) == []


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("field", ["generation_id", "hedra_conn_id", "minimum", "workspace_id"])
def test_the_sensors(hedra_sandbox: Sandbox, field: str, deferrable: bool):
    for kind, value in FOREIGN.items():
        hedra_sandbox.reset()
        common = {"task_id": "s", "deferrable": deferrable, "poke_interval": 0.01, "timeout": 0.1}
        sensor: Any
        if field in ("minimum", "workspace_id"):
            sensor = HedraCreditsSensor(**({"minimum": 1} | common | {field: value}))
        else:
            sensor = HedraGenerationSensor(**({"generation_id": ID} | common | {field: value}))
        with pytest.raises((AirflowFailException, AirflowNotFoundException, HedraValueError)) as raised:
            wait(sensor)
        if not isinstance(raised.value, AirflowNotFoundException):
            assert ("workspace" if field == "workspace_id" else field) in str(raised.value), kind
            assert len(str(raised.value)) < 2000
            assert fit_for_a_log(str(raised.value))
        assert sent(hedra_sandbox) == []


def test_two_keys_that_differ_are_two(hedra_sandbox: Sandbox):
    """An idempotency key can't equal the key of a task run, whose parts are joined by NULs."""
    theirs = identity.task_run_key("shop", "manual__1", "avatar", -1)
    assert "\0" in theirs
    operator = HedraGenerateOperator(task_id="g", request={"type": "x"}, idempotency_key=theirs)
    error = error_of(lambda: run(operator))
    assert isinstance(error, HedraValueError)
    assert error.param == "idempotency_key"


@pytest.mark.parametrize(
    "foreign", ["../../etc/x", "/etc/x", "a/../../x", "x\0", "{{ 1 }}", "C:\\x", "..", "a" * 1000]
)
def test_nothing_that_the_api_names_chooses_a_path(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, foreign: str
):
    """Its ids, names and types: a file lands in the folder, under a UUID, or nowhere."""
    patch = {
        "type": foreign,
        "asset_id": foreign,
        "name": foreign,
        "asset": {"name": foreign, "type": foreign},
    }
    hedra_sandbox.faults({"on": "GET /generations/{id}/status", "times": None, "patch": patch})
    folder = tmp_path / "out"
    operator = HedraAvatarVideoOperator(
        task_id="a", image=portrait, audio=voice, resolution="540p", destination=f"{folder}/"
    )
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    error_of(lambda: run(operator))
    for path in {path for path in tmp_path.rglob("*") if path.is_file()} - before:
        assert path.parent == folder
        assert path.stem == hedra_sandbox.submissions[0]["generation_id"]


@pytest.mark.parametrize("kind", ["image", "audio"])
@pytest.mark.parametrize("content", ["root:x:0:0:root:/root:/bin/bash\n", "[core]\nfernet_key = abc\n", "{}"])
def test_a_row_that_names_a_file_of_the_worker_sends_no_text_file(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, kind: str, content: str
):
    secret = tmp_path / "airflow.cfg"
    secret.write_text(content)
    files = {"image": portrait, "audio": voice} | {kind: str(secret)}
    error = error_of(lambda: run(HedraAvatarVideoOperator(task_id="a", resolution="540p", **files)))
    assert isinstance(error, HedraValueError)
    assert error.param == kind
    assert sent(hedra_sandbox) == []
