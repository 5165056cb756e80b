"""Hedra's own client of API v3 drives the sandbox unchanged, but for its address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.sandbox.conftest import HERE, portrait_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hedra_provider.testing import Sandbox

hedra = pytest.importorskip("hedra")


@pytest.fixture
def sdk(hedra_sandbox: Sandbox) -> Iterator[Any]:
    with httpx.Client(**HERE, timeout=30) as http:
        yield hedra.Hedra(
            base_url=hedra_sandbox.base_url_v3, api_key=hedra_sandbox.api_key_v3, httpx_client=http
        )


def finish(sdk: Any, job: Any) -> Any:
    for _ in range(30):
        if sdk.jobs.get_status(job.job_id).status in ("COMPLETED", "FAILED"):
            break
    return sdk.jobs.get(job.job_id)


def test_speech_then_avatar(sdk: Any, hedra_sandbox: Sandbox) -> None:
    voice = sdk.models.list_voices("elevenlabs-v3").data[0]
    spoken = sdk.jobs.submit_elevenlabs_v3(
        input=hedra.InputElevenlabsV3(text="Good morning.", voice_id=voice.id), idempotency_key="speech-1"
    )
    sound = finish(sdk, spoken).outputs[0]
    portrait = sdk.files.upload(file=("face.png", portrait_bytes()))
    video = finish(
        sdk,
        sdk.jobs.submit_hedra_avatar(
            input=hedra.InputHedraAvatar(
                prompt="A person speaking",
                aspect_ratio="1:1",
                resolution="540p",
                start_image={"source": "url", "url": portrait.url},
                audio={"source": "asset", "asset_id": sound.asset_id},
            )
        ),
    )
    assert (video.status, video.outputs[0].duration_ms) == ("COMPLETED", sound.duration_ms)
    assert httpx.get(video.outputs[0].url, **HERE).content[4:8] == b"ftyp"
    assert [job.job_id for job in sdk.jobs.list(limit=1)] == [video.job_id, spoken.job_id]
    assert sdk.billing.get_balance().balance == pytest.approx(100 - video.cost - 0.0013)
    speech_row, avatar_row = hedra_sandbox.submissions_v3
    assert (speech_row["idempotency_key"], speech_row["place"]) == ("speech-1", "header")
    # It makes a key of its own where none is given.
    assert avatar_row["place"] == "header"


def test_errors_are_read(sdk: Any, hedra_sandbox: Sandbox) -> None:
    with pytest.raises(hedra.BadRequestError) as invalid:
        sdk.jobs.submit_elevenlabs_v3(input=hedra.InputElevenlabsV3(text=" ", voice_id="voice_1"))
    assert invalid.value.body.error.details[0].field == "input.text"
    with pytest.raises(hedra.NotFoundError) as missing:
        sdk.jobs.get("job_1")
    assert missing.value.body.trace_id == missing.value.headers["x-trace-id"]
    with pytest.raises(hedra.UnauthorizedError):
        hedra.Hedra(
            base_url=hedra_sandbox.base_url_v3, api_key="a:b", httpx_client=httpx.Client(**HERE)
        ).billing.get_balance()


@pytest.mark.hedra_sandbox(usd=0)
def test_an_empty_wallet_is_read(sdk: Any) -> None:
    voice = sdk.models.list_voices("elevenlabs-v3").data[0]
    with pytest.raises(hedra.PaymentRequiredError) as poor:
        sdk.jobs.submit_elevenlabs_v3(input=hedra.InputElevenlabsV3(text="Hello", voice_id=voice.id))
    assert poor.value.body.error.billing.required == pytest.approx(0.0005)
