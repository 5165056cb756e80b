"""The file origin: short-lived URLs, as an object store signs them.

Files are read with ``GET /files/{asset id}`` (Range, If-Range, ETag, HEAD), videos are uploaded with
``PUT /uploads/{asset id}``. The signature in the query is all the right there is; no key is asked for.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import re
from email.utils import formatdate
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode
from uuid import uuid4
from xml.sax.saxutils import escape

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from hedra_provider.sandbox.refusals import Refusal
from hedra_provider.sandbox.state import Clock, iso
from hedra_provider.sandbox.store import Incoming

if TYPE_CHECKING:
    from starlette.requests import Request

    from hedra_provider.sandbox.service import Hedra


class Signer:
    """Makes and checks URLs.

    :param secret: signs.
    :param clock: decides what has expired.
    :param lifetime_seconds: of a URL.
    """

    def __init__(self, secret: str, clock: Clock, lifetime_seconds: int) -> None:
        self.base_url = ""
        self._secret = secret.encode()
        self._clock = clock
        self._lifetime = lifetime_seconds

    def url(self, path: str, *, method: str = "GET", save_as: str | None = None) -> str:
        """Sign a URL that is valid from now on.

        :param path: on the file origin.
        :param method: what it allows.
        :param save_as: file name that a browser would use.
        """
        query = f"X-Amz-Date={int(self._clock.now())}&X-Amz-Expires={self._lifetime}"
        if save_as is not None:
            # Only ASCII, and nothing that could leave the quotes.
            name = re.sub(r"[^\w. -]", "_", save_as, flags=re.ASCII)
            disposition = f'attachment; filename="{name}"'
            query += "&" + urlencode({"response-content-disposition": disposition}, quote_via=quote)
        return f"{self.base_url}{path}?{query}&X-Amz-Signature={self._sign(method, path, query)}"

    def check(self, request: Request, method: str) -> None:
        """Check the URL of a request.

        :raises S3Error: 403 when it was tampered with or has expired.
        """
        query, _, signature = request.url.query.rpartition("&X-Amz-Signature=")
        if not hmac.compare_digest(signature.encode(), self._sign(method, request.url.path, query).encode()):
            message = "The request signature we calculated does not match the signature you provided."
            raise S3Error(403, "SignatureDoesNotMatch", message)
        expires = int(request.query_params["X-Amz-Date"]) + int(request.query_params["X-Amz-Expires"])
        now = self._clock.now()
        if now >= expires:
            raise S3Error(
                403, "AccessDenied", "Request has expired", Expires=iso(expires), ServerTime=iso(now)
            )

    def _sign(self, method: str, path: str, query: str) -> str:
        return hmac.new(self._secret, f"{method}\n{path}\n{query}".encode(), sha256).hexdigest()


class S3Error(Exception):
    """An answer in XML, as S3 gives it."""

    def __init__(self, status: int, code: str, message: str, **details: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        ids = {"RequestId": uuid4().hex[:16].upper(), "HostId": "sandbox"}
        fields = {"Code": code, "Message": message, **details, **ids}
        rows = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
        self.content = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{rows}</Error>'


def file_app(hedra: Hedra, signer: Signer) -> Starlette:
    """Build the file origin.

    :param hedra: knows the assets and takes uploads.
    :param signer: checks URLs.
    """
    store = hedra.store

    async def download(request: Request) -> Response:
        signer.check(request, "GET")
        asset_id = request.path_params["id"]
        asset = await hedra.file_of(asset_id)
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
        except Refusal:
            raise S3Error(404, "NoSuchKey", "The specified key does not exist.") from None
        if "content-length" not in request.headers:
            message = "You must provide the Content-Length HTTP header."
            raise S3Error(411, "MissingContentLength", message)
        with Incoming(store) as incoming:
            try:
                async for chunk in request.stream():
                    incoming.add(chunk)
                    await incoming.flush()
                await hedra.take_file(asset, incoming, request.headers.get("content-type") or "video/mp4")
            except Refusal as refusal:
                # An object store would take what is no video; saying so at once helps more.
                code = "InsufficientStorage" if refusal.status == 413 else "InvalidRequest"
                raise S3Error(507 if refusal.status == 413 else 400, code, json.dumps(refusal.body)) from None
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


async def finish_reading(request: Request) -> None:
    """Read what a client still sends: it hears an answer only when it has finished talking."""
    # RuntimeError: everything was read already.
    with contextlib.suppress(RuntimeError, ClientDisconnect):
        async for _ in request.stream():
            pass
