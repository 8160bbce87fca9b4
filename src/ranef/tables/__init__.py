"""Tables: one model, rendered as text and HTML."""

from ranef.tables.compared import comparison_table
from ranef.tables.model import Block, Document, Grid, Text
from ranef.tables.pooling import pooling_table
from ranef.tables.summary import posterior_summary, reml_summary

__all__ = [
    "Block",
    "Document",
    "Grid",
    "Text",
    "comparison_table",
    "pooling_table",
    "posterior_summary",
    "reml_summary",
]
