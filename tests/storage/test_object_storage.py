"""Uploads from S3 and results to it: Airflow's connection and file system, moto's server for Amazon's."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.operators import (
    HedraAvatarVideoOperator,
    HedraDownloadOperator,
    HedraUploadAssetOperator,
)
from tests.airflow_names import AirflowException, AirflowFailException
from tests.media import png, wav
from tests.tasks import TaskInstance, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hedra_provider.testing import Sandbox

# Found, not imported: importing it takes seconds, even if these tests do not run.
MISSING = [name for name in ("moto", "flask_cors", "s3fs", "airflow.providers.amazon") if not find_spec(name)]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """An S3 with the bucket ``clips``, behind the Airflow connection ``storage``."""
    import json

    import boto3
    import s3fs

    # No AWS account of this machine is used, and part files stay in this folder.
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    # Airflow ignores a missing connection: the test must not reach Amazon then.
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    extra = {"endpoint_url": server, "region_name": "us-east-1"}
    monkeypatch.setenv(
        "AIRFLOW_CONN_STORAGE",
        json.dumps({"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}),
    )
    (tmp_path / "gathered").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gathered"))
    account = boto3.client(
        "s3",
        endpoint_url=server,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    s3fs.S3FileSystem.clear_instance_cache()
    account.create_bucket(Bucket="clips")
    yield account
    for item in account.list_objects_v2(Bucket="clips").get("Contents", []):
        account.delete_object(Bucket="clips", Key=item["Key"])
    account.delete_bucket(Bucket="clips")


def put(account: Any, **content: bytes) -> None:
    for name, body in content.items():
        account.put_object(Bucket="clips", Key=name.replace("_", "/", 1).replace("_", "."), Body=body)


def keys(account: Any) -> list[str]:
    return [item["Key"] for item in account.list_objects_v2(Bucket="clips").get("Contents", [])]


def avatar(**changes: Any) -> HedraAvatarVideoOperator:
    arguments = {
        "task_id": "avatar",
        "image": "s3://storage@clips/in/face.png",
        "audio": "s3://storage@clips/in/voice.wav",
        "destination": "s3://storage@clips/out/clip.mp4",
        "resolution": "540p",
    }
    return HedraAvatarVideoOperator(**(arguments | changes))


def test_a_whole_pipeline_on_s3(hedra_sandbox: Sandbox, s3: Any, tmp_path: Path):
    put(s3, in_face_png=png(), in_voice_wav=wav(1.0))
    made = run(avatar())
    stored = s3.get_object(Bucket="clips", Key="out/clip.mp4")
    content = stored["Body"].read()
    assert content[4:8] == b"ftyp"
    assert (made["uri"], made["bytes"]) == ("s3://storage@clips/out/clip.mp4", len(content))
    assert made["worker"] is None
    assert stored["ContentType"] == "video/mp4"
    assert list((tmp_path / "gathered").iterdir()) == []
    # A folder: the file is named after its id.
    again = run(
        HedraDownloadOperator(
            task_id="d", generation_id=made["generation_id"], destination="s3://storage@clips/all/"
        )
    )
    assert again["uri"] == f"s3://storage@clips/all/{made['generation_id']}.mp4"
    assert s3.get_object(Bucket="clips", Key=f"all/{made['generation_id']}.mp4")["Body"].read() == content


def test_an_upload_from_s3_has_the_output_of_one_from_disk(hedra_sandbox: Sandbox, s3: Any, tmp_path: Path):
    put(s3, in_voice_wav=wav(1.0))
    (tmp_path / "voice.wav").write_bytes(wav(1.0))
    local = run(HedraUploadAssetOperator(task_id="u", source=str(tmp_path / "voice.wav")))
    remote = run(HedraUploadAssetOperator(task_id="u", source="s3://storage@clips/in/voice.wav"))
    assert remote == local | {"reused": True}
    assert remote["duration_ms"] == 1000


def test_an_upload_from_s3_is_repeated_from_its_start(hedra_sandbox: Sandbox, s3: Any):
    put(s3, in_voice_wav=wav(20.0))
    hedra_sandbox.faults({"on": "POST /assets/{id}/upload", "times": 1, "reset": True})
    run(HedraUploadAssetOperator(task_id="u", source="s3://storage@clips/in/voice.wav"))
    assert len(hedra_sandbox.requests("POST", "/assets")) == 1
    assert len(hedra_sandbox.requests("POST", "/assets/{id}/upload")) == 2


def test_a_download_that_fails_leaves_what_was_there(
    hedra_sandbox: Sandbox, s3: Any, tmp_path: Path, no_pauses: None
):
    put(s3, in_face_png=png(), in_voice_wav=wav(1.0), out_clip_mp4=b"old")
    made = run(avatar(destination=None))
    hedra_sandbox.faults({"on": "GET /files/{id}", "times": None, "status": 404})
    download = HedraDownloadOperator(
        task_id="d", generation_id=made["generation_id"], destination="s3://storage@clips/out/clip.mp4"
    )
    with pytest.raises(AirflowException, match="stopped at byte 0"):
        run(download)
    assert s3.get_object(Bucket="clips", Key="out/clip.mp4")["Body"].read() == b"old"
    hedra_sandbox.faults({"on": "GET /files/{id}", "times": 1, "cut_at": 1000})
    assert run(download)["bytes"] > 1000
    assert s3.get_object(Bucket="clips", Key="out/clip.mp4")["Body"].read()[4:8] == b"ftyp"
    assert list((tmp_path / "gathered").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"destination": "s3://storage@nowhere/clip.mp4"}, "destination: .* there is no bucket 'nowhere'"),
        ({"destination": "s3://storage@clips"}, "destination: .*names no file; end it with /"),
        (
            {"image": "s3://storage@clips/in/none.png"},
            r"image: .*none\.png' can't be opened: there is no such",
        ),
        ({"image": "s3://storage@nowhere/face.png"}, r"image: .*nowhere/face\.png' can't be opened"),
        ({"image": "s3://storage@clips/in/"}, "image: .* it is a directory"),
    ],
)
def test_a_missing_file_or_bucket_is_named_before_anything_is_spent(
    hedra_sandbox: Sandbox, s3: Any, changes: dict[str, str], says: str
):
    put(s3, in_face_png=png(), in_voice_wav=wav(1.0))
    with pytest.raises(AirflowFailException, match=f"{says}.*s3://conn_id@bucket/key"):
        run(avatar(**changes))
    assert hedra_sandbox.requests("POST") == []


def test_a_storage_that_does_not_answer_is_left_to_the_retries(
    hedra_sandbox: Sandbox, s3: Any, monkeypatch: pytest.MonkeyPatch
):
    put(s3, in_face_png=png(), in_voice_wav=wav(1.0))
    import s3fs

    async def down(self: Any, *args: Any, **kwargs: Any) -> None:
        from botocore.exceptions import EndpointConnectionError

        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    with monkeypatch.context() as broken:
        broken.setattr(s3fs.S3FileSystem, "_call_s3", down)
        with pytest.raises(AirflowException, match=r"image: .*Could not connect") as raised:
            run(avatar())
        assert not isinstance(raised.value, AirflowFailException)
    assert hedra_sandbox.requests("POST") == []


def test_a_storage_that_rejects_the_result_costs_nothing_again(
    hedra_sandbox: Sandbox, s3: Any, monkeypatch: pytest.MonkeyPatch
):
    """It fails at the very end: the result stays at Hedra, and the retry stores it."""
    put(s3, in_face_png=png(), in_voice_wav=wav(1.0))
    import s3fs

    real = s3fs.S3FileSystem._call_s3

    async def gone(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "put_object":
            raise PermissionError("Access Denied")
        return await real(self, method, *args, **kwargs)

    with monkeypatch.context() as broken:
        broken.setattr(s3fs.S3FileSystem, "_call_s3", gone)
        with pytest.raises(AirflowException, match=r"can't be written: Access Denied.*without paying again"):
            run(avatar())
    assert "out/clip.mp4" not in keys(s3)
    run(avatar(), TaskInstance(try_number=2))
    assert "out/clip.mp4" in keys(s3)
    assert len(hedra_sandbox.submissions) == 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """The answer of S3 to the request for a bucket."""
    import s3fs

    answers: list[Exception] = []

    def ask(self: Any, method: str, **kwargs: Any) -> None:
        assert method == "head_bucket"
        raise answers[0]

    monkeypatch.setattr(s3fs.S3FileSystem, "call_s3", ask)
    return answers


def test_a_storage_that_can_not_be_reached_is_found_before_anything_is_spent(
    hedra_sandbox: Sandbox, s3: Any, asked: list[Exception]
):
    from botocore.exceptions import NoCredentialsError

    put(s3, in_face_png=png(), in_voice_wav=wav(1.0))
    asked.append(NoCredentialsError())
    with pytest.raises(AirflowException, match=r"destination: .*locate credentials") as raised:
        run(avatar())
    assert "Check the storage, and the Airflow connection that its URI names" in str(raised.value)
    # A download says the same, and it has nothing to submit; before a retry, something may be paid for.
    assert "submitted" not in str(raised.value)
    assert hedra_sandbox.requests() == []


def test_the_permission_to_read_the_bucket_is_not_needed_to_store(
    hedra_sandbox: Sandbox, s3: Any, asked: list[Exception]
):
    put(s3, in_face_png=png(), in_voice_wav=wav(1.0))
    asked.append(PermissionError("Forbidden"))
    assert run(avatar())["uri"] == "s3://storage@clips/out/clip.mp4"


def test_records_of_submits_are_kept_on_s3(s3: Any):
    from hedra_provider.storage.state_path import StatePathStore
    from hedra_provider.submission.v3.record import TryRecord

    job_id = "job_0f9d9d3c-7d0e-4b0c-9b51-6d1f1c4f2a90"
    store, other = (StatePathStore("s3://storage@clips/hedra", key) for key in ("run", "another"))
    assert store.read() == []
    for number in (1, 2):
        record = TryRecord(key="run", try_id=f"000{number}", attempt_group="group")
        # As another worker does, whose writes this one's driver does not know of.
        name = f"hedra/{store._digest}/000{number}.json"
        s3.put_object(Bucket="clips", Key=name, Body=record.to_json().encode())
        assert len(store.read()) == number
    changed = TryRecord(key="run", try_id="0002", attempt_group="changed")
    store.write(changed)
    assert changed in store.read()
    store.name_job(job_id)
    assert (store.is_named_elsewhere(job_id), other.is_named_elsewhere(job_id)) == (False, True)
