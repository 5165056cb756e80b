"""What this provider declares to Airflow: its connection type and its modules."""

from __future__ import annotations

from typing import Any

INTEGRATION = "Hedra"

CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "workspace_id": {
        "label": "Workspace ID",
        "description": "The workspace that pays. Empty: the key's default workspace.",
        "schema": {"type": ["string", "null"]},
    },
    "id_namespace": {
        "label": "ID namespace",
        "description": "Any name. With it, running generations are found again after you rotate the key. "
        "Empty: made from the key.",
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Timeout (seconds)",
        "description": "Of each request, to connect, read and write. Empty: 10 to connect, "
        "60 to read or write.",
        "schema": {"type": ["string", "null"]},
    },
    "verify": {
        "label": "Verify TLS",
        "description": "true, false, or the path of a CA bundle. Empty: true.",
        "schema": {"type": ["string", "null"]},
    },
    "proxy": {
        "label": "Proxy",
        "description": "URL of a proxy, e.g. http://user:password@host:port. Left empty: from HTTP_PROXY, "
        "HTTPS_PROXY, ALL_PROXY and NO_PROXY.",
        "schema": {"type": ["string", "null"]},
    },
}

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    # The port is not hidden: on Airflow 3.3.1 and 3.3.2 the form's test button answers "Bad Request" for a
    # stored connection without a port (apache/airflow#73298).
    "hidden-fields": ["login", "schema"],
    "relabeling": {"password": "API key (v2)", "host": "Base URL"},
    "placeholders": {"host": "https://api.hedra.com/web-app/public", "port": "443"},
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-hedra",
        "name": "Hedra",
        "description": "Avatar videos by Hedra: upload, generate, wait without a worker, download.",
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://www.hedra.com/docs",
                "tags": ["service"],
            }
        ],
        "connection-types": [
            {
                "connection-type": "hedra",
                "hook-class-name": "hedra_provider.hooks.HedraHook",
                "hook-name": "Hedra",
                "conn-fields": CONNECTION_FIELDS,
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
            }
        ],
        "hooks": [{"integration-name": INTEGRATION, "python-modules": ["hedra_provider.hooks"]}],
        "operators": [{"integration-name": INTEGRATION, "python-modules": ["hedra_provider.operators"]}],
        "sensors": [{"integration-name": INTEGRATION, "python-modules": ["hedra_provider.sensors"]}],
        "triggers": [{"integration-name": INTEGRATION, "python-modules": ["hedra_provider.triggers"]}],
    }
