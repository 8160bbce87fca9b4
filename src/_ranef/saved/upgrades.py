"""From the manifests of earlier formats to those of the next ones."""

from __future__ import annotations

from typing import Any

from _ranef.saved.registry import record_name
from _ranef.structures import STRUCTURES

__all__ = ["one_layer_of_users", "structures_of_templates"]

#: classes that users hold, by the names that format 2 gave them
MOVED = {
    f"{layer}.{name}": f"user.{name}"
    for layer, name in (
        ("fits", "EmpiricalBayesFit"),
        ("fits", "PosteriorFit"),
        ("compared", "Comparison"),
        ("pooled", "Pooling"),
    )
}


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


def one_layer_of_users(manifest: Any) -> Any:
    """What users hold stood in layers of one file each up to format 2, and in one layer from 3 on."""
    if isinstance(manifest, list):
        return [one_layer_of_users(part) for part in manifest]
    if not isinstance(manifest, dict):
        return manifest
    out = {name: one_layer_of_users(part) for name, part in manifest.items()}
    record = out.get("record")
    return out | {"record": MOVED[record]} if record in MOVED else out
