"""The file origin, which plays the object store behind Hedra.

Files are read with ``GET /files/{asset id}`` (Range, If-Range, ETag, HEAD), videos are uploaded with
``PUT /uploads/{asset id}``. The signature in the query is the only credential; the origin takes no API key.
"""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from hedra_provider.sandbox.rejections import Rejection
from hedra_provider.sandbox.request_body import finish_reading
from hedra_provider.sandbox.signing import S3Error, Signer
from hedra_provider.sandbox.store import Incoming
from hedra_provider.sandbox.uploads import media_type

if TYPE_CHECKING:
    from starlette.requests import Request

    from hedra_provider.sandbox.service import Hedra
    from hedra_provider.sandbox.v3.service import HedraV3


def file_app(hedra: Hedra, v3: HedraV3, signer: Signer) -> Starlette:
    """Build the file origin.

    :param hedra: has the assets of API v2 and takes their uploads.
    :param v3: has the files of API v3.
    :param signer: checks URLs.
    """
    store = hedra.store

    async def download(request: Request) -> Response:
        signer.check(request, "GET")
        asset_id = request.path_params["id"]
        asset = await v3.file(asset_id) or await hedra.asset_with_file(asset_id)
        if asset is None or asset.file is None or not store.path(asset.file).exists():
            raise S3Error(404, "NoSuchKey", "The specified key does not exist.", Key=asset_id)
        etag = f'"{asset.file}"'
        known = request.headers.get("if-match")
        if known not in (None, "*", etag):
            raise S3Error(
                412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"
            )
        headers = {
            "etag": etag,
            "accept-ranges": "bytes",
            "last-modified": formatdate(asset.created_at, usegmt=True),
        }
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        disposition = request.query_params.get("response-content-disposition")
        if disposition:
            headers["content-disposition"] = disposition
        return FileResponse(store.path(asset.file), headers=headers, media_type=asset.media_type)

    async def upload(request: Request) -> Response:
        signer.check(request, "PUT")
        try:
            asset = hedra.uploadable(request.path_params["id"])
        except Rejection:
            raise S3Error(404, "NoSuchKey", "The specified key does not exist.") from None
        if "content-length" not in request.headers:
            message = "You must provide the Content-Length HTTP header."
            raise S3Error(411, "MissingContentLength", message)
        with Incoming(store) as incoming:
            try:
                async for chunk in request.stream():
                    incoming.add(chunk)
                    await incoming.flush()
                kind = media_type(request.headers.get("content-type", ""), asset.name, "video/mp4")
                await hedra.take_file(asset, incoming, kind)
            except Rejection as rejection:
                # An object store would take a file that is no video. The sandbox reports it at once.
                code = "EntityTooLarge" if rejection.status == 413 else "InvalidRequest"
                raise S3Error(400, code, json.dumps(rejection.body)) from None
        return Response(headers={"etag": f'"{asset.file}"'})

    async def s3_error(request: Request, error: S3Error) -> Response:
        await finish_reading(request)
        return Response(error.content, status_code=error.status, media_type="application/xml")

    return Starlette(
        routes=[
            Route("/files/{id}", download, methods=["GET", "HEAD"]),
            Route("/uploads/{id}", upload, methods=["PUT"]),
        ],
        exception_handlers={S3Error: s3_error},  # type: ignore[dict-item]
    )
