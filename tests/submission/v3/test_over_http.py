"""The flow as a client sends it: paths, headers, bytes, and the answers of HTTP."""

from __future__ import annotations

import json

import httpx
import pytest

from hedra_provider.api.calls import Ask
from hedra_provider.api.client import HedraClient
from hedra_provider.api.errors import HedraAPIError
from hedra_provider.submission.v3.submit import obtain_job, resume_job
from tests.submission.v3.scripted import API_KEY, MODEL, Store, World


@pytest.mark.parametrize("place", ["header", "body", "both"])
def test_a_submit_and_its_retry(place):
    world = World.of(reads_key_in="body" if place == "body" else "header")
    seen: list[httpx.Request] = []
    cut = [True]

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        path = request.url.path.removeprefix("/v3")
        params = {"limit": "1", "cursor": "", **request.url.params}
        ask = Ask(
            request.method,
            path,
            content=request.content,
            params=params,
            headers={"Idempotency-Key": request.headers["Idempotency-Key"]}
            if "Idempotency-Key" in request.headers
            else None,
        )
        answer = world.hedra.arrive(ask)
        if path == f"/models/{MODEL}" and cut:
            cut.pop()
            raise httpx.ReadTimeout("cut", request=request)
        return answer

    transport = httpx.MockTransport(handle)
    with HedraClient(API_KEY, transport=transport, sleep=world.clock.move) as client:
        store = Store(world, "run")
        run = world.run(place=place)
        assert client.run(resume_job(run, store)) is None
        made = client.run(obtain_job(run, world.draft(), store))
        again = client.run(resume_job(world.run(), store))
    assert (made.job_id, again.job_id, world.hedra.paid) == (*world.job_ids() * 2, 1)
    submits = [request for request in seen if request.url.path == f"/v3/models/{MODEL}"]
    assert len(submits) == 2
    assert len({request.content for request in submits}) == 1
    assert len({request.headers.get("Idempotency-Key") for request in submits}) == 1
    assert ("Idempotency-Key" in submits[0].headers) is (place != "body")
    assert ("idempotency_key" in json.loads(submits[0].content)) is (place != "header")


def test_a_rejected_submit_says_so_and_is_not_repeated():
    world = World.of()
    world.hedra.answers = [(402, "INSUFFICIENT_BALANCE")]

    def handle(request: httpx.Request) -> httpx.Response:
        ask = Ask(request.method, request.url.path.removeprefix("/v3"), content=request.content)
        return world.hedra.arrive(ask)

    with (
        HedraClient(API_KEY, transport=httpx.MockTransport(handle), sleep=world.clock.move) as client,
        pytest.raises(HedraAPIError) as caught,
    ):
        client.run(obtain_job(world.run(), world.draft(), Store(world, "run")))
    assert (caught.value.status_code, caught.value.outcome_unknown) == (402, False)
    assert len(world.hedra.sent) == 1
