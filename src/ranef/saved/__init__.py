"""Fits in one file: a zip of a JSON manifest and of arrays, without pickle."""

from ranef.saved.files import FORMAT, Prepared, read_saved, save

__all__ = ["FORMAT", "Prepared", "read_saved", "save"]
