"""The paths of API v3. Every error has one shape, also that of an unknown path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hedra_provider.sandbox import envelope, uploads
from hedra_provider.sandbox.clock import iso
from hedra_provider.sandbox.doors import PREFIX_V3, trace_id
from hedra_provider.sandbox.gate import ENDING
from hedra_provider.sandbox.rejections import Rejection
from hedra_provider.sandbox.request_body import TooLong, finish_reading, parse_json, read_body
from hedra_provider.sandbox.store import Incoming
from hedra_provider.sandbox.v3 import inputs, models
from hedra_provider.sandbox.v3.paging import listed, page
from hedra_provider.sandbox.v3.webhooks import require_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from hedra_provider.sandbox.v3.service import HedraV3

_MAX_BODY_BYTES = 4 * 1024**2
_VOICE_FILTERS = ("gender", "language")


def api_v3(hedra: HedraV3) -> Starlette:
    """Build the API.

    :param hedra: does the work.
    """
    paths = _Paths(hedra)
    table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("POST", "/files", paths.upload),
        ("GET", "/models", paths.models),
        ("GET", "/models/{model}", paths.model),
        ("POST", "/models/{model}", paths.submit),
        ("POST", "/models/{model}/estimate", paths.estimate),
        ("GET", "/models/{model}/voices", paths.voices),
        ("GET", "/models/{model}/voices/search", paths.search_voices),
        ("GET", "/models/{model}/jobs", paths.jobs),
        ("GET", "/jobs", paths.jobs),
        ("GET", "/jobs/{id}", paths.job),
        ("DELETE", "/jobs/{id}", paths.delete),
        ("GET", "/jobs/{id}/status", paths.status),
        ("GET", "/jobs/{id}/logs", paths.logs),
        ("GET", "/balance", paths.balance),
        ("GET", "/usage", paths.usage),
        ("GET", "/webhooks/public-key", paths.public_key),
        ("GET", "/webhooks/default", paths.default_webhook),
        ("PUT", "/webhooks/default", paths.set_default_webhook),
        ("DELETE", "/webhooks/default", paths.delete_default_webhook),
        ("POST", "/webhooks/default/test", paths.test_default_webhook),
        ("GET", "/webhooks/deliveries", paths.deliveries),
        ("POST", "/webhooks/deliveries/{id}/redeliver", paths.redeliver),
    ]

    async def rejected(request: Request, rejection: Rejection) -> Response:
        hedra.state.give_back(getattr(request.state, "kept", None))
        await finish_reading(request)
        body = envelope.enclosed(rejection, trace_id(request.scope))
        return JSONResponse(body, rejection.status, rejection.headers)

    async def no_such_path(request: Request, error: HTTPException) -> Response:
        return await rejected(request, envelope.rejection(error.status_code, f"{error.detail}."))

    return Starlette(
        routes=[Route(PREFIX_V3 + path, do, methods=[method]) for method, path, do in table],
        exception_handlers={Rejection: rejected, HTTPException: no_such_path},  # type: ignore[dict-item]
    )


class _Paths:
    def __init__(self, hedra: HedraV3) -> None:
        self._hedra = hedra
        self._memory = hedra.memory
        self._answers = hedra.answers

    async def upload(self, request: Request) -> Response:
        with Incoming(self._hedra.store) as incoming:
            try:
                await uploads.receive_file(request, incoming)
            except Rejection as rejection:
                if rejection.status != 422:
                    raise
                raise envelope.invalid("file", "Field required", "required") from None
            _keep(self._hedra, request, 0)
            return JSONResponse(await self._hedra.take_upload(incoming), 201)

    async def submit(self, request: Request) -> Response:
        content, body = await self._body(request)
        _keep(self._hedra, request, len(content))
        answer = await self._hedra.submit(
            request.path_params["model"], content, body, request.headers.get("idempotency-key"),
            request.scope.get(ENDING),
        )  # fmt: skip
        return JSONResponse(answer, 202, {"Location": answer["result_url"]})

    async def estimate(self, request: Request) -> Response:
        _, body = await self._body(request)
        return JSONResponse(self._hedra.estimate(request.path_params["model"], body))

    async def models(self, request: Request) -> Response:
        modality = request.query_params.get("modality")
        allowed = ["image", "video", "audio"]
        if modality is not None and modality not in allowed:
            raise envelope.invalid("modality", "Input is not one of the allowed values", "enum", allowed)
        rows = [model for model in models.all_models() if modality in (None, model["modality"])]
        details = ("input_schema", "output_schema")
        return JSONResponse(
            listed([{key: value for key, value in row.items() if key not in details} for row in rows])
        )

    async def model(self, request: Request) -> Response:
        name = request.path_params["model"]
        inputs.require_known(name)
        return JSONResponse(next(row for row in models.all_models() if row["id"] == name))

    async def voices(self, request: Request) -> Response:
        name = request.path_params["model"]
        inputs.require_known(name)
        voices = list(models.VOICES) if name in models.SPEECH_MODELS else []
        return JSONResponse(listed(self._answers.voices(voices)))

    async def search_voices(self, request: Request) -> Response:
        """Return the voices whose name or labels have a word of ``q``, the best ones first."""
        name, query = request.path_params["model"], request.query_params
        inputs.require_known(name)
        if not query.get("q", "").strip():
            raise envelope.invalid("q", "Field required", "required")
        page([], query)
        wanted = set(query["q"].lower().split())
        found = []
        for voice in models.VOICES if name in models.SPEECH_MODELS else ():
            labels = voice["labels"]
            words = {word.lower() for word in (voice["name"], *labels.values())}
            fits = all(query.get(key, labels[key]).lower() == labels[key].lower() for key in _VOICE_FILTERS)
            if fits and wanted & words:
                found.append((len(wanted & words), voice))
        found.sort(key=lambda one: -one[0])
        best = [voice for _, voice in found][: int(query.get("limit", 20))]
        return JSONResponse(listed(self._answers.voices(best)))

    async def jobs(self, request: Request) -> Response:
        model = request.path_params.get("model")
        if model is not None:
            inputs.require_known(model)
        rows, cursor = page(self._memory.newest_jobs(model), request.query_params)
        await self._hedra.wait_for_files(rows)
        return JSONResponse(listed([self._answers.row(row) for row in rows], cursor))

    async def job(self, request: Request) -> Response:
        job = self._memory.job(request.path_params["id"])
        await self._hedra.wait_for_files([job])
        return JSONResponse(self._answers.result(job))

    async def delete(self, request: Request) -> Response:
        self._hedra.delete(self._memory.job(request.path_params["id"]))
        return Response(status_code=204)

    async def status(self, request: Request) -> Response:
        job = self._memory.job(request.path_params["id"])
        await self._hedra.wait_for_files([job])
        return JSONResponse(self._answers.status(job))

    async def logs(self, request: Request) -> Response:
        # Three events at most: one page has them all.
        page([], request.query_params)
        return JSONResponse(listed(self._answers.logs(self._memory.job(request.path_params["id"]))))

    async def balance(self, request: Request) -> Response:
        return JSONResponse(self._answers.balance())

    async def usage(self, request: Request) -> Response:
        return JSONResponse(self._answers.usage(request.query_params))

    async def public_key(self, request: Request) -> Response:
        return JSONResponse({"algorithm": "ed25519", "public_key": self._hedra.webhooks.public_key()})

    async def default_webhook(self, request: Request) -> Response:
        return JSONResponse(self._memory.default_webhook)

    async def set_default_webhook(self, request: Request) -> Response:
        _, body = await self._body(request)
        if not isinstance(body, dict) or "url" not in body:
            raise envelope.invalid("url", "Field required", "required")
        enabled = body.get("enabled", True)
        if not isinstance(enabled, bool):
            raise envelope.invalid("enabled", "Input should be a valid boolean", "type")
        url = require_url("url", body["url"])
        self._memory.default_webhook = {
            "url": url, "enabled": enabled, "updated_at": iso(self._memory.clock.now()),
        }  # fmt: skip
        self._hedra.save()
        return JSONResponse(self._memory.default_webhook)

    async def delete_default_webhook(self, request: Request) -> Response:
        self._memory.default_webhook = {"url": None, "enabled": False}
        self._hedra.save()
        return Response(status_code=204)

    async def test_default_webhook(self, request: Request) -> Response:
        url = self._memory.default_webhook["url"]
        if url is None:
            raise envelope.rejection(400, "No default webhook is set.", code="FAILED_PRECONDITION")
        status, problem = await self._hedra.webhooks.post(
            url, b'{"test": true}', "test", "webhook.test", attempt=1, again=False
        )
        error = problem["message"] if problem else None
        return JSONResponse({"ok": problem is None, "response_status": status, "error": error})

    async def deliveries(self, request: Request) -> Response:
        rows, cursor = page(self._hedra.webhooks.newest(), request.query_params)
        return JSONResponse(listed([self._hedra.webhooks.row(row) for row in rows], cursor))

    async def redeliver(self, request: Request) -> Response:
        delivery = self._hedra.webhooks.redeliver(request.path_params["id"])
        return JSONResponse(self._hedra.webhooks.row(delivery))

    async def _body(self, request: Request) -> tuple[bytes, Any]:
        try:
            content = await read_body(request, _MAX_BODY_BYTES)
        except TooLong:
            message = f"A JSON body may have at most {_MAX_BODY_BYTES} bytes."
            raise envelope.rejection(413, message) from None
        try:
            return content, parse_json(content)
        except ValueError as error:
            raise envelope.invalid("body", f"JSON decode error: {error}", "json") from None


def _keep(hedra: HedraV3, request: Request, size: int) -> None:
    """Count the memory that a request takes."""
    hedra.state.keep(size)
    request.state.kept = size
