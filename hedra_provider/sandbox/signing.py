"""Short-lived URLs of the file origin, signed like those of an object store, and its errors in XML."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode
from uuid import uuid4
from xml.sax.saxutils import escape

from hedra_provider.sandbox.clock import Clock, iso

if TYPE_CHECKING:
    from starlette.requests import Request

_MAX_NAME_CHARACTERS = 200


class S3Error(Exception):
    """An answer in XML, as S3 gives it.

    :param status: HTTP status.
    :param code: S3's name of the error.
    :param message: text for people.
    :param details: further elements of the XML.
    """

    def __init__(self, status: int, code: str, message: str, **details: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        ids = {"RequestId": uuid4().hex[:16].upper(), "HostId": "sandbox"}
        fields = {"Code": code, "Message": message, **details, **ids}
        rows = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
        self.content = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{rows}</Error>'


class Signer:
    """Signs URLs and checks them.

    :param secret: key of the signatures.
    :param clock: decides which URL has expired.
    :param lifetime_seconds: lifetime of a URL, in seconds of the clock.
    """

    def __init__(self, secret: str, clock: Clock, lifetime_seconds: int) -> None:
        self.base_url = ""
        self._secret = secret.encode()
        self._clock = clock
        self._lifetime = lifetime_seconds

    def url(self, path: str, *, method: str = "GET", save_as: str | None = None) -> str:
        """Sign a URL that is valid from now on.

        :param path: path on the file origin.
        :param method: the HTTP method that the URL allows; default ``GET``.
        :param save_as: file name that a browser would use; default None, for no name.
        """
        query = f"X-Amz-Date={int(self._clock.now())}&X-Amz-Expires={self._lifetime}"
        if save_as is not None:
            # Only ASCII, and nothing that could leave the quotes.
            name = re.sub(r"[^\w. -]", "_", save_as[-_MAX_NAME_CHARACTERS:], flags=re.ASCII)
            disposition = f'attachment; filename="{name}"'
            query += "&" + urlencode({"response-content-disposition": disposition}, quote_via=quote)
        return f"{self.base_url}{path}?{query}&X-Amz-Signature={self._sign(method, path, query)}"

    def check(self, request: Request, method: str) -> None:
        """Check the URL of a request.

        :param request: the request.
        :param method: the HTTP method that its URL must allow.
        :raises S3Error: 403 if the URL was changed or has expired.
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
