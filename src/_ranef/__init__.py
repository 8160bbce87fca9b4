"""How ``ranef`` is built: layers that import one way, from ``errors`` up to ``user`` and ``cli``.

Nothing here is the interface, which is the package ``ranef`` beside this one; ARCHITECTURE.md is the map.
"""

from _ranef.support.interrupts import as_command

as_command()  # before the rest, which takes a while to load
