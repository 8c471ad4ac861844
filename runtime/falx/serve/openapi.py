"""The description of the service in OpenAPI 3.1, and a page that shows it.

The format: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import html
import json
from typing import Any, Final, TypeAlias

from falx._version import __version__
from falx.serve.bounds import Bounds
from falx.words import DISCLAIMER, LABELS

JsonObject: TypeAlias = dict[str, Any]

FILE: Final[JsonObject] = {"schema": {"type": "string", "format": "binary"}}

ERROR: Final[JsonObject] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        }
    },
}


def document(bounds: Bounds, *, with_token: bool) -> JsonObject:
    """Returns the OpenAPI document."""
    paths = {
        "/v1/predict": _post(
            "Classifies one slice.", "The prediction, as `falx predict --json` prints it.", one=True
        ),
        "/v1/heatmap": _post(
            "Draws one slice with its heatmap.", "A PNG of the slice's size.", one=True, png=True
        ),
        "/v1/study": _post(
            "Sums up the slices of one examination: DICOM files, pictures of one patient, or a zip.",
            "The study, as `falx study --json` prints it.",
        ),
        "/healthz": _get(
            "Tells that the service answers, and with which model; needs no token.", "application/json"
        ),
        "/metrics": _get("Returns counts in Prometheus's text format.", "text/plain"),
    }
    found: JsonObject = {
        "openapi": "3.1.0",
        "info": {
            "title": "Falx",
            "version": __version__,
            "description": f"{DISCLAIMER} A request may have {bounds.megabytes} MiB and {bounds.files} "
            f"files, and take {bounds.seconds} s. Nothing of it is stored.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": ERROR}},
    }
    if with_token:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


def page(bounds: Bounds, *, with_token: bool) -> str:
    """Returns a page that shows the document to people, without a script and without the network."""
    described = document(bounds, with_token=with_token)
    rows = "".join(
        f"<tr><td><code>{method.upper()} {path}</code></td><td>{html.escape(operation['summary'])}</td></tr>"
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    )
    info = described["info"]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>Falx</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;"
        "padding:0 1rem}td{padding:.3rem 1rem .3rem 0;vertical-align:top}code,pre{font-size:.9rem}"
        "pre{background:#f2f4f6;padding:1rem;overflow:auto}</style>"
        f"<h1>Falx {info['version']}</h1><p>{html.escape(info['description'])}</p><table>{rows}</table>"
        "<p>The first command asks for one slice, the second for an examination:</p>"
        "<pre>curl --data-binary @slice.png http://127.0.0.1:8080/v1/predict\n"
        "curl -F file=@examination.zip http://127.0.0.1:8080/v1/study</pre>"
        "<p><a href=openapi.json>openapi.json</a> has the details.</p>"
        "<details><summary>openapi.json</summary><pre>"
        f"{html.escape(json.dumps(described, indent=1))}</pre></details>"
    )


def _post(summary: str, answer: str, *, one: bool = False, png: bool = False) -> JsonObject:
    files = {"type": "array", "items": FILE["schema"]}
    content: JsonObject = {
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"file": FILE["schema"] if one else files}}
        }
    }
    content["application/octet-stream"] = FILE
    parameters = [
        {
            "name": label,
            "in": "query",
            "description": f"The threshold of {label}, in (0, 1], instead of the model's.",
            "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        }
        for label in LABELS
    ]
    told = {"image/png": {}} if png else {"application/json": {"schema": {"type": "object"}}}
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses: JsonObject = {"200": {"description": answer, "content": told}}
    for status, why in (
        (400, "The form is damaged."),
        (401, "The token is missing or wrong."),
        (413, "The request is too large."),
        (422, "The file cannot be read, or a parameter is wrong."),
        (429, "Too many requests wait; Retry-After says when to try again."),
        (503, "The answer took too long."),
    ):
        responses[str(status)] = {"description": why, "content": refused}
    if png:
        responses["409"] = {
            "description": "There is no heatmap: the picture is rejected.",
            "content": refused,
        }
    return {
        "post": {
            "summary": summary,
            "parameters": parameters,
            "requestBody": {"required": True, "content": content},
            "responses": responses,
        }
    }


def _get(summary: str, kind: str) -> JsonObject:
    answer = {"description": summary, "content": {kind: {}}}
    return {"get": {"summary": summary, "responses": {"200": answer}}}
