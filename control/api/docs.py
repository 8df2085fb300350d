"""The API's page for people: made from the OpenAPI document, without a script or a foreign host."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Dormouse API</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font: 14px/1.45 ui-monospace, monospace }
pre { background: #f4f4f2; padding: .75rem; overflow-x: auto; border-radius: 4px }
details { border: 1px solid #d8d8d4; border-radius: 4px; margin: .5rem 0; padding: .5rem .75rem }
summary { cursor: pointer } .method { font-weight: 600; display: inline-block; min-width: 4.5rem }
@media (prefers-color-scheme: dark) {
  body { background: #1b1c1e; color: #e6e6e3 } pre { background: #26282b }
  details { border-color: #3a3d41 } a { color: #8ab4f8 } }
</style></head><body>
<h1>Dormouse API</h1>
<p>Everything under <code>/v1</code> wants <code>Authorization: Bearer KEY</code>. Errors are
problem documents (RFC 9457); decide by their <code>code</code>. For tools:
<a href="openapi.json">openapi.json</a>.</p>
"""


def render(document: dict[str, Any]) -> str:
    """The page of an OpenAPI document."""
    return _HEAD + "".join(_operations(document)) + "</body></html>\n"


def _operations(document: dict[str, Any]) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield (
                f'<details><summary><span class="method">{method.upper()}</span> '
                f"<code>{escape(path)}</code> {escape(operation.get('summary', ''))}</summary>"
                f"<p>{escape(operation.get('description', ''))}</p>"
                f"{_parameters(operation)}"
                f"<pre>{escape(_curl(method, path, operation, document))}</pre>"
                f"{''.join(_responses(operation, document))}</details>"
            )


def _parameters(operation: dict[str, Any]) -> str:
    items = [
        f"<li><code>{escape(each['name'])}</code> ({escape(each['in'])}) "
        f"{escape(each.get('description', ''))}</li>"
        for each in operation.get("parameters", ())
    ]
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _curl(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    line = f"curl -X {method.upper()} $DORMOUSE_API{path}"
    if path.startswith("/v1"):
        line += ' -H "Authorization: Bearer $DORMOUSE_API_KEY"'
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None:
        example = json.dumps(_example(body["schema"], document))
        line += f" \\\n  -H 'Content-Type: application/json' -d '{example}'"
    return line


def _responses(operation: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    for status, response in operation.get("responses", {}).items():
        yield f"<p><b>{escape(status)}</b> {escape(response.get('description', ''))}</p>"
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        if schema is not None and status.startswith("2"):
            text = json.dumps(_example(schema, document), indent=2)
            yield f"<pre>{escape(text)}</pre>"


def _example(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """A value of the schema's shape. The schemas here do not contain themselves."""
    if "$ref" in schema:
        return _example(document["components"]["schemas"][schema["$ref"].split("/")[-1]], document)
    if schema.get("examples"):
        return schema["examples"][0]
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], document)
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [""])[0])
    match schema.get("type"):
        case "object" if "properties" in schema:
            return {key: _example(each, document) for key, each in schema["properties"].items()}
        case "object":
            inner = schema.get("additionalProperties")
            return {"…": _example(inner, document)} if isinstance(inner, dict) else {}
        case "array":
            return [_example(schema["items"], document)]
        case "integer":
            return 1
        case _:
            return "…"
