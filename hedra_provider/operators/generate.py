"""The operator for any request body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from hedra_provider.arguments import Argument, is_given, request_body
from hedra_provider.operators.draft import Draft
from hedra_provider.operators.generation import GeneratingOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hedra_provider.api.client import HedraClient
    from hedra_provider.operators.task_run import TaskRun


class HedraGenerateOperator(GeneratingOperator):
    """
    Generate with any request body of ``POST /generations``, wait for it, and store the result.

    Further parameters, what a retry does and what is returned:
    :class:`hedra_provider.operators.generation.GeneratingOperator`.

    :param request: The body, with ``type`` and without ids: a dict, or its JSON text. Fields that take an
        asset's id take a dict with ``asset_id`` too, and numbers may be texts. With a
        ``batch_size`` above 1 its variations are paid for, adopted and replaced one by one.
    """

    template_fields: Sequence[str] = ("request", *GeneratingOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"request": "json"}
    arguments: ClassVar[Mapping[str, Argument]] = {
        "request": Argument(
            request_body, required=True, remedy="Give the body of POST /generations as a dict."
        ),
        **GeneratingOperator.arguments,
    }

    def __init__(self, *, request: Mapping[str, Any] | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Any, until read_arguments() makes it what it means.
        self.request: Any = request

    def draft_request(self, client: HedraClient, run: TaskRun) -> Draft:
        """
        Check the body; where it is a video that names its model, against that model's limits too.

        :raises HedraValueError: If it can't be right.
        """
        from hedra_provider.api import calls
        from hedra_provider.api.errors import HedraValueError
        from hedra_provider.api.requests import (
            batch_size,
            check_against_model,
            find_model,
            not_in_catalogue,
            reject_ids,
            require_json,
        )

        require_json(self.request, "request")
        body = dict(self.request)
        if not isinstance(body.get("type"), str):
            raise HedraValueError(
                "request: its type is missing.", param="type", remedy="Give e.g. 'type': 'video'."
            )
        reject_ids(body)
        batch_size(body)
        own_workspace = body.get("workspace_id") if is_given(body.get("workspace_id")) else None
        workspace_id = self.workspace_id or own_workspace or self.hook.settings.workspace_id
        if workspace_id:
            body["workspace_id"] = workspace_id
        named = body.get("model_slug") or body.get("ai_model_id")
        if not (self.validate and named and body["type"] == "video"):
            return Draft(body)
        catalogue = client.run(calls.list_models(["video", "text_to_speech"]))
        model = find_model(str(named), catalogue)
        if model is None:
            raise not_in_catalogue(str(named), catalogue)
        check_against_model(body, model)
        return Draft(body, catalogue)

    def variations(self) -> int | None:
        """Return the ``batch_size`` of the request."""
        from hedra_provider.api.requests import batch_size

        return batch_size(self.request) if isinstance(self.request, Mapping) else None

    def _name(self) -> str | None:
        name: str | None = self.request.get("name")
        return name
