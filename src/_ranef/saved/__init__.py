"""Fits in one file: a zip of a JSON manifest and of arrays, without pickle.

``manifest.json`` has ``format`` ("ranef"), ``version`` (of the format, a whole number), ``ranef`` (the version that
wrote it), ``kind`` and ``value``: the record, each of its parts tagged with what it is (``encode.py`` writes the tags,
``decode.py`` reads them). Records go by layer and class, as ``design.Design``; what occurs twice is written once.
``arrays/0.npy`` and so on are the arrays too large for the manifest, in NumPy's own format. Any unzip and any reader of
JSON will do to look into it.

A new record needs no code here: the registry follows the annotations of fields. A new field with a default reads files
of before; a change that does not needs a new :data:`FORMAT` and its entry in ``UPGRADES``, and new files by
``tests/saved/write.py`` beside the old ones, which must still be read.
"""

from _ranef.support.late_names import late

with late(globals()):
    from _ranef.saved.files import FORMAT, Prepared, read_saved, save

__all__ = ["FORMAT", "Prepared", "read_saved", "save"]
