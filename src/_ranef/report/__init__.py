"""A page to send to a colleague, with the shrinkage explorer."""

from _ranef.support.late_names import late

with late(globals()):
    from _ranef.report.calls import python_calls, versions
    from _ranef.report.page import Page, Picture, page_html
    from _ranef.report.sentences import data_grids, engine_words, fingerprint, model_words
    from _ranef.report.shrinkage_explorer import Explorer, explorer

__all__ = [
    "Explorer",
    "Page",
    "Picture",
    "data_grids",
    "engine_words",
    "explorer",
    "fingerprint",
    "model_words",
    "page_html",
    "python_calls",
    "versions",
]
