"""From the manifests of earlier formats to those of the next ones."""

from __future__ import annotations

from typing import Any

from ranef.saved.registry import record_name
from ranef.structures import STRUCTURES

__all__ = ["structures_of_templates"]


def structures_of_templates(manifest: Any) -> Any:
    """Format 1 wrote a term's structure as a template of λ with a kind, 2 as a record of its own class."""
    if isinstance(manifest, list):
        return [structures_of_templates(part) for part in manifest]
    if not isinstance(manifest, dict):
        return manifest
    if manifest.get("record") == "spec.Template":
        kind, size = (manifest["fields"][name] for name in ("kind", "size"))
        return {"record": record_name(STRUCTURES[kind]), "fields": {"size": size}}
    named = {"template": "structure"} if manifest.get("record") == "spec.TermSpec" else {}
    if named:
        fields = {named.get(name, name): structures_of_templates(part) for name, part in manifest["fields"].items()}
        return manifest | {"fields": fields}
    return {name: structures_of_templates(part) for name, part in manifest.items()}
