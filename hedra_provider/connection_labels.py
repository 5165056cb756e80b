"""The labels of a connection's fields in the form, and the error about a field.

A message names a field by its label. It holds no connection id, because the form's test button uses a
temporary one. ``HedraConfigurationError.param`` holds the stored name.
"""

from __future__ import annotations

from hedra_provider.api.errors import HedraConfigurationError
from hedra_provider.provider_info import CONNECTION_FIELDS, UI_FIELD_BEHAVIOUR

STANDARD_FIELDS = {
    "login": "Login",
    "port": "Port",
    "schema": "Schema",
    "extra": "Extra Fields JSON",
    **UI_FIELD_BEHAVIOUR["relabeling"],
}
"""The labels of Airflow's own fields, by their stored names."""

LABELS: dict[str, str] = STANDARD_FIELDS | {
    name: str(about["label"]) for name, about in CONNECTION_FIELDS.items()
}
"""The labels of all fields, by their stored names."""


def field_error(name: str, what: str, remedy: str) -> HedraConfigurationError:
    """
    Return the error about a field.

    :param name: The field's stored name.
    :param what: What is wrong with it; follows its label.
    :param remedy: What to change.
    """
    return HedraConfigurationError(f'"{LABELS[name]}" {what}.', param=name, remedy=remedy)
