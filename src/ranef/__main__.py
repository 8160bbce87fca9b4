"""``python -m ranef``: the command line."""

from ranef.cli import run

if __name__ == "__main__":
    run()
