"""The command line: ``ranef demo``, ``ranef fit`` and ``ranef compare``."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ranef import datasets
from ranef.compared import check_output, compare
from ranef.errors import DesignError, RanefError, RanefWarning
from ranef.model import Model

__all__ = ["main"]

#: exit status of bad input, as argparse's own
BAD_INPUT = 2

#: exit status after Ctrl-C, as a shell reports it
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; bad input ends in one line on stderr and status 2."""
    options = _parser().parse_args(arguments)
    warnings.simplefilter("default", RanefWarning)
    warnings.showwarning = _show_warning
    try:
        options.run(options)
    except (RanefError, NotImplementedError, OSError) as error:
        print(f"ranef: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("ranef: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"ranef: note: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ranef", description="Mixed models two ways from one lme4-style formula: REML/ML with BLUPs, and NUTS."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="the pulp data both ways: equation, summaries, table, figure")
    demo.add_argument("--figure", type=Path, default=Path("shrinkage.png"), metavar="F.png")
    demo.add_argument("--seed", type=int, default=1)
    demo.set_defaults(run=_demo)
    fit = commands.add_parser("fit", help="fit by REML or ML and print the summary")
    _model_arguments(fit)
    fit.set_defaults(run=_fit)
    both = commands.add_parser("compare", help="fit both ways and print the side-by-side table")
    _model_arguments(both)
    both.add_argument("--draws", type=_positive, default=1000, metavar="N", help="draws of each of four chains")
    both.add_argument("--seed", type=int, default=None, metavar="N")
    both.add_argument("--figure", type=Path, default=None, metavar="F.png", help="save the figure")
    both.add_argument("--json", type=Path, default=None, metavar="F", help="write all frames as JSON")
    both.set_defaults(run=_compare)
    return parser


def _model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="name of a bundled data set, or path of a CSV or Parquet file")
    parser.add_argument("formula", metavar="FORMULA", help="for example 'Reaction ~ Days + (Days | Subject)'")
    parser.add_argument("--method", choices=("REML", "ML"), default="REML")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return value


def read_data(name: str) -> pd.DataFrame:
    """A bundled data set by name, or a CSV or Parquet file by path.

    Raises
    ------
    DesignError
        If it is neither, or the file cannot be read.
    """
    path = Path(name)
    kind = next((s for s in path.suffixes[::-1] if s in (".csv", ".parquet", ".pq")), "")
    if not kind:
        return datasets.load(name)
    if not path.is_file():
        raise DesignError(f"There is no file {name!r}. Give a path that exists, or one of the names in `ranef demo`.")
    try:
        return pd.read_csv(path) if kind == ".csv" else pd.read_parquet(path)
    except ImportError:
        raise DesignError(f"Reading {name!r} needs pyarrow: pip install pyarrow.") from None
    except (ValueError, OSError) as error:
        raise DesignError(f"{name!r} cannot be read as {kind[1:]}: {error}") from None


def _fit(options: argparse.Namespace) -> None:
    print(Model(options.formula, read_data(options.data)).fit(options.method).summary())


def _compare(options: argparse.Namespace) -> None:
    if options.figure is not None:
        check_output(options.figure)
    if options.json is not None:
        check_output(options.json, ())
    model = Model(options.formula, read_data(options.data))
    both = compare(model.fit(options.method), model.sample(options.draws, seed=options.seed))
    print(both)
    if both.fb.warnings:
        print("\n" + "\n".join(both.fb.warnings))
    if options.figure is not None:
        print(f"\nFigure: {both.save_figure(options.figure)}")
    if options.json is not None:
        partial = options.json.with_name(f".{options.json.name}.partial")
        partial.write_text(json.dumps(both.to_dict(), indent=1, allow_nan=False) + "\n")
        partial.replace(options.json)
        print(f"\nJSON: {options.json}")


def _demo(options: argparse.Namespace) -> None:
    check_output(options.figure)
    model = Model("bright ~ 1 + (1 | operator)", datasets.load("pulp"))
    print("The model\n")
    print(model.equation().text)
    print("\n\nEmpirical Bayes: REML and BLUPs\n")
    eb = model.fit()
    print(eb.summary())
    print("\n\nFull Bayes: NUTS\n", flush=True)
    fb = model.sample(seed=options.seed)
    print(fb.summary())
    print("\n\nSide by side\n")
    both = compare(eb, fb)
    print(both)
    print(f"\nFigure: {both.save_figure(options.figure)}")


if __name__ == "__main__":
    sys.exit(main())
