"""The command line: ``ranef``, or ``python -m ranef``."""

from _ranef.cli import main, run

__all__ = ["main", "run"]

if __name__ == "__main__":
    run()
