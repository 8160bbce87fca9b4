"""The script is for type checkers to read, not for anybody to run."""

collect_ignore = ["script.py"]
