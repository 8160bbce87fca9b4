"""``save`` and what ``ranef.load`` reads: which kinds of thing a file may hold, and which versions of it are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

from _ranef.errors import DesignError, SavedFileError, suggestion
from _ranef.likelihood import CrossProducts, Sums
from _ranef.saved.container import damaged, read_container, write_container
from _ranef.saved.decode import Decoder, UnknownRecord
from _ranef.saved.encode import Encoder
from _ranef.saved.registry import record_name, registry_of
from _ranef.spec import ModelSpec, Moments
from _ranef.structures import STRUCTURES
from _ranef.support.argument_remedies import file_path
from _ranef.support.output import check_output, write_whole

__all__ = ["FORMAT", "Prepared", "read_saved", "save"]

#: raised by one where files of before can no longer be read as they stand; then :data:`UPGRADES` gets their way here
FORMAT = 3

#: what a design, which is read before them, keeps in the place of rows
_OF_ROWS = (Sums, Moments)


@dataclass(frozen=True, eq=False, repr=False)
class Prepared:
    """What is stored of a model: all that a fit or a sampler reads.

    Attributes
    ----------
    spec : ModelSpec
    products : CrossProducts
    moments : Moments
    """

    spec: ModelSpec
    products: CrossProducts
    moments: Moments


def save(given: Any, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a record with all that it holds to one file, whole or not at all.

    Raises
    ------
    DesignError
        If the file exists and is not to be replaced, or cannot be written.
    """
    path = file_path(path)
    check_output(path, (), overwrite=overwrite)
    encoder = Encoder(registry_of(type(given), *_OF_ROWS))
    manifest = {
        "format": "ranef",
        "version": FORMAT,
        "ranef": version("ranef"),
        "kind": record_name(type(given)),
        "value": encoder.value(given),
    }
    return write_whole(path, lambda partial: write_container(partial, manifest, encoder.arrays))


def read_saved(
    path: str | PathLike[str], kinds: tuple[type[Any], ...], transforms: Mapping[str, Callable[..., Any]] | None
) -> Any:
    """Read one of `kinds` from a file.

    Raises
    ------
    SavedFileError
        If the file is not one that ranef wrote, is damaged, or of a later version.
    DesignError
        If `transforms` has a function that the model does not call.
    """
    path, given = file_path(path), dict(transforms or {})
    manifest, arrays = read_container(path)
    manifest = _current(path, manifest)
    decoder = Decoder(registry_of(*kinds, *_OF_ROWS), arrays, given)
    try:
        value = decoder.value(manifest["value"])
    except UnknownRecord as error:
        raise _newer(path, manifest, str(error)) from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise damaged(path, error) from error
    if not isinstance(value, kinds):
        raise damaged(path, f"it holds a {type(value).__name__}")
    _check_transforms(given, decoder.known)
    return value


def _current(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest brought to the present format."""
    number = manifest.get("version")
    if manifest.get("format") != "ranef" or type(number) is not int or number < 1 or "value" not in manifest:
        raise SavedFileError(
            f"{str(path)!r} is not a file that ranef wrote: its manifest does not say so. ranef.load() reads what "
            "fit.save(path) wrote."
        )
    if number > FORMAT:
        raise _newer(path, manifest, f"its format is {number}, and this one reads up to {FORMAT}")
    for step in range(number, FORMAT):
        manifest = UPGRADES[step](manifest)
    return manifest


def _newer(path: Path, manifest: Mapping[str, Any], why: str) -> SavedFileError:
    return SavedFileError(
        f"{str(path)!r} was written by ranef {manifest.get('ranef', 'of an unknown version')}, which ranef "
        f"{version('ranef')} cannot read: {why}. Load it with the version that wrote it, or a later one."
    )


def _check_transforms(given: Mapping[str, Any], known: list[str]) -> None:
    for name in given:
        if name not in known:
            theirs = f"It calls: {', '.join(dict.fromkeys(known))}." if known else "It calls none."
            raise DesignError(
                f"transforms= has {name!r}, which the formula in the file does not call.{suggestion(name, known)} "
                + theirs
            )


# -- manifests of earlier formats ---------------------------------------------------------------------------------

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


def _structures_of_templates(manifest: Any) -> Any:
    """Format 1 wrote a term's structure as a template of λ with a kind, 2 as a record of its own class."""
    if isinstance(manifest, list):
        return [_structures_of_templates(part) for part in manifest]
    if not isinstance(manifest, dict):
        return manifest
    if manifest.get("record") == "spec.Template":
        kind, size = (manifest["fields"][name] for name in ("kind", "size"))
        return {"record": record_name(STRUCTURES[kind]), "fields": {"size": size}}
    named = {"template": "structure"} if manifest.get("record") == "spec.TermSpec" else {}
    if named:
        fields = {named.get(name, name): _structures_of_templates(part) for name, part in manifest["fields"].items()}
        return manifest | {"fields": fields}
    return {name: _structures_of_templates(part) for name, part in manifest.items()}


def _one_layer_of_users(manifest: Any) -> Any:
    """What users hold stood in layers of one file each up to format 2, and in one layer from 3 on."""
    if isinstance(manifest, list):
        return [_one_layer_of_users(part) for part in manifest]
    if not isinstance(manifest, dict):
        return manifest
    out = {name: _one_layer_of_users(part) for name, part in manifest.items()}
    record = out.get("record")
    return out | {"record": MOVED[record]} if record in MOVED else out


#: from the manifest of a format to that of the next one
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _structures_of_templates,
    2: _one_layer_of_users,
}
