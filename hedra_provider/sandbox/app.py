"""Hedra's API as the sandbox serves it: routes, parameters and the shapes of errors."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

from fastapi import Depends, FastAPI, Path, Query, Request
from starlette.responses import JSONResponse, Response

from hedra_provider.sandbox import catalogue, rejections, uploads
from hedra_provider.sandbox.doors import PREFIX_V2 as PREFIX
from hedra_provider.sandbox.gate import ENDING
from hedra_provider.sandbox.rejections import Rejection
from hedra_provider.sandbox.request_body import TooLong, finish_reading, parse_json, read_body
from hedra_provider.sandbox.store import Incoming

if TYPE_CHECKING:
    from hedra_provider.sandbox.service import Hedra

AssetType = Literal["text", "image", "audio", "video", "voice", "three_d", "rich_text"]
GenerationType = Literal[
    "image", "video", "text_to_speech", "speech_to_speech", "voice_clone", "audio_isolation",
    "video_stitching", "video_upscale", "video_to_video", "image_upscale", "agent_response",
    "audio_from_video", "text_to_sound", "assets_to_image_text_prompt", "assets_to_audio_text_prompt",
]  # fmt: skip

_MAX_BODY_BYTES = 4 * 1024**2
# Answers show microseconds; the sandbox stores finer times.
_MICROSECOND = 1e-6


def api_app(hedra: Hedra) -> FastAPI:
    """Build the API.

    :param hedra: does the work.
    """
    app = FastAPI(title="Hedra sandbox", docs_url=None, redoc_url=None, openapi_url=None)

    app.state.keep = hedra.state.keep

    @app.exception_handler(Rejection)
    async def rejected(request: Request, rejection: Rejection) -> Response:
        hedra.state.give_back(getattr(request.state, "kept", None))
        await finish_reading(request)
        return JSONResponse(rejection.body, rejection.status, rejection.headers)

    # A plain route, which costs less than FastAPI's: status requests are the most frequent ones.
    async def status(request: Request) -> Response:
        generation = hedra.generation(str(_uuid(request.path_params["id"], ["path", "generation_id"])))
        await hedra.wait_for_files([generation])
        return JSONResponse(hedra.answers.status(generation))

    app.router.add_route(f"{PREFIX}/generations/{{id}}/status", status, methods=["GET"])

    @app.get(f"{PREFIX}/models")
    async def models(types: Annotated[list[GenerationType] | None, Query()] = None) -> Response:
        return JSONResponse(
            [model for model in catalogue.models() if types is None or model["type"] in types]
        )

    @app.get(f"{PREFIX}/voices")
    async def voices() -> Response:
        return JSONResponse(hedra.answers.voices())

    @app.get(f"{PREFIX}/assets")
    async def assets(kind: Annotated[AssetType, Query(alias="type")], ids: str | None = None) -> Response:
        return JSONResponse(hedra.assets(kind, _ids(ids)))

    @app.post(f"{PREFIX}/assets")
    async def create_asset(raw: Annotated[Any, Depends(_json)]) -> Response:
        return JSONResponse(hedra.create_asset(raw))

    @app.post(f"{PREFIX}/assets/{{id}}/upload")
    async def upload(asset_id: Annotated[UUID, Path(alias="id")], request: Request) -> Response:
        asset = hedra.uploadable(str(asset_id))
        with Incoming(hedra.store) as incoming:
            media_type = await uploads.receive_file(request, incoming)
            await hedra.take_file(asset, incoming, media_type)
        return JSONResponse(hedra.answers.asset(asset))

    @app.post(f"{PREFIX}/generations")
    async def submit(request: Request, raw: Annotated[Any, Depends(_json)]) -> Response:
        return JSONResponse(hedra.submit(raw, request.scope.get(ENDING)))

    @app.get(f"{PREFIX}/generations")
    async def generations(
        ids: str | None = None,
        kind: Annotated[AssetType | GenerationType | None, Query(alias="type")] = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        prompt_query: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        wanted = _ids(ids) if hedra.state.options.batch else None
        after = _epoch(created_after)
        before = _epoch(created_before)
        rows = [
            generation
            for generation in reversed(hedra.state.generations.values())
            if (wanted is None or generation.id in wanted)
            and (kind is None or kind in (generation.type, generation.asset_type))
            and (after is None or generation.created_at >= after - _MICROSECOND)
            and (before is None or generation.created_at <= before + _MICROSECOND)
            and (prompt_query is None or prompt_query in json.dumps(generation.request))
        ][offset : offset + limit]
        await hedra.wait_for_files(rows)
        page = {"limit": limit, "offset": offset}
        return JSONResponse({"page_info": page, "data": [hedra.answers.row(row) for row in rows]})

    @app.get(f"{PREFIX}/billing/credits")
    async def credits() -> Response:
        return JSONResponse(hedra.answers.credits())

    return app


async def _json(request: Request) -> Any:
    """Read a body. The whole of it is kept: the ``input`` of a generation repeats it."""
    try:
        body = await read_body(request, _MAX_BODY_BYTES)
    except TooLong:
        raise rejections.too_large(f"A JSON body may have at most {_MAX_BODY_BYTES} bytes.") from None
    request.app.state.keep(len(body))
    request.state.kept = len(body)
    try:
        return parse_json(body)
    except ValueError as error:
        raise rejections.unprocessable(
            ["body", 0], f"JSON decode error: {error}", "json_invalid", {}
        ) from None


def _uuid(value: str, location: list[str | int]) -> UUID:
    try:
        return UUID(value)
    except ValueError as error:
        message = f"Input should be a valid UUID, {error}"
        raise rejections.unprocessable(location, message, "uuid_parsing", value) from None


def _ids(value: str | None) -> set[str] | None:
    """Read a comma-separated list of ids. The comma is an assumption: the schema has only a string."""
    if value is None:
        return None
    return {str(_uuid(part.strip(), ["query", "ids"])) for part in value.split(",") if part.strip()}


def _epoch(moment: datetime | None) -> float | None:
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
