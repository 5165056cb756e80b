"""The trigger form of Airflow's UI, as far as it decides what a run gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def sent_as_it_opens(params: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """
    Return what the form of a DAG sends if nobody changes a field.

    The UI calls a field required unless its schema's type is a list with ``null``. While a required field is
    empty, nobody can trigger (isRequired in FlexibleForm of Airflow 3.3.2's UI).

    :param params: ``params`` of ``GET /api/v2/dags/{dag_id}/details``.
    """
    for name, param in params.items():
        kind = param["schema"].get("type")
        required = bool(kind) and not (isinstance(kind, list) and "null" in kind)
        assert not (required and param["value"] in (None, "")), f"{name} is required, and opens empty"
    return {name: param["value"] for name, param in params.items()}
