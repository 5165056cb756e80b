"""What this provider declares to Airflow: its connection type and its modules."""

from __future__ import annotations

from typing import Any

INTEGRATION = "Hedra"

CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "api_version": {
        "label": "API version",
        "description": "2 or 3. Empty: by the key; a v3 key has a colon.",
        "schema": {"type": ["string", "null"]},
    },
    "workspace_id": {
        "label": "Workspace ID",
        "description": "v2: the workspace that pays. Empty: the key's default workspace. v3: leave it empty, "
        "because a key belongs to one workspace.",
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
    "state_path": {
        "label": "State path",
        "description": "v3: where submits are recorded, so that each is paid once. A URI, e.g. "
        "s3://my_conn@bucket/hedra, or an absolute path that all workers share. Empty: Airflow's task state "
        "store (Airflow 3.3).",
        "schema": {"type": ["string", "null"]},
    },
    "requests_per_minute": {
        "label": "Requests per minute",
        "description": "v3: how many requests all waits of a triggerer may send. Empty: half of the "
        "key's limit.",
        "schema": {"type": ["string", "null"]},
    },
    "idempotency": {
        "label": "Idempotency key in",
        "description": "v3: header, body or both. Empty: header.",
        "schema": {"type": ["string", "null"]},
    },
    "prices": {
        "label": "Prices (USD per second)",
        "description": 'v3: prices of your own, as JSON, e.g. {"hedra-avatar": {"720p": 0.05}}. Empty: those '
        "of this provider.",
        "schema": {"type": ["string", "null"]},
    },
    "speech_model": {
        "label": "Speech model",
        "description": "v3: the model that speaks texts. Empty: elevenlabs-v3.",
        "schema": {"type": ["string", "null"]},
    },
}

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    # The port is not hidden: on Airflow 3.3.1 and 3.3.2 the form's test button answers "Bad Request" for a
    # stored connection without a port (apache/airflow#73298).
    "hidden-fields": ["login", "schema"],
    "relabeling": {"password": "API key", "host": "Base URL"},
    "placeholders": {
        "password": "v3: <id>:<secret>, v2: sk_hedra_...",
        "host": "Empty: Hedra's own",
        "port": "443",
        "api_version": "2 or 3",
        "state_path": "s3://my_conn@bucket/hedra",
        "requests_per_minute": "30",
        "idempotency": "header",
        "prices": '{"hedra-avatar": {"720p": 0.05}}',
        "speech_model": "elevenlabs-v3",
    },
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
