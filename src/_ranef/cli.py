"""The command line: ``ranef demo``, ``ranef data``, ``ranef fit``, ``ranef anova`` and ``ranef compare``."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import shlex
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pandas as pd

from _ranef import datasets
from _ranef.datasets.tablefiles import Reading, read_table_file, reading_call
from _ranef.design import registered
from _ranef.errors import DesignError, RanefError, RanefWarning
from _ranef.formula import parse_formula
from _ranef.support.interrupts import INTERRUPTED, caught
from _ranef.support.output import FIGURES, PAGES, check_output, write_whole
from _ranef.user import Model, anova, compare

__all__ = ["main", "run"]

#: exit status of bad input, as argparse's own
BAD_INPUT = 2

#: what errors name of pandas' arguments, and the options that are the same
OPTIONS = {"na_values=": "--na CODE", "thousands": "--thousands MARK", "decimal=": "--decimal MARK"}

#: name of the file that holds what came through a pipe
PIPED = "standard input"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; bad input ends in one message on stderr and status 2, Ctrl-C in status 130."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without β̂ is no reason to lose the work
    given = [_as_utf8(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]
    options = _parser().parse_args(given)
    options.arguments = given
    with _notes():
        try:
            with caught(), _stored(options):
                status = int(options.run(options) or 0)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:  # the reader of our output has seen enough
            _silence()
            return 0
        except (RanefError, NotImplementedError, OSError) as error:
            options_too = [f" On the command line: {o}." for word, o in OPTIONS.items() if word in str(error)]
            _say(f"{error}{''.join(options_too)}")
            return BAD_INPUT
        except MemoryError:
            _say("the memory is not enough for this model: use fewer rows, columns or levels")
            return BAD_INPUT
        except KeyboardInterrupt:
            _say("interrupted")
            return INTERRUPTED
    return status


def run() -> None:
    """Run as a process of its own, and leave it at once.

    After Ctrl-C a compiling thread of XLA may still be at work, and an interpreter that is taken down round it crashes.
    """
    _open_streams()
    status = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # too late to undo; and Python's handler ends before the process does
    try:
        sys.stdout.flush()
    except OSError:  # it was told of already
        _silence()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    if status == INTERRUPTED:
        os._exit(status)
    sys.exit(status)


def _as_utf8(argument: str) -> str:
    """What was typed, where the locale knows ASCII only: bytes that it could not decode are UTF-8."""
    try:
        return os.fsencode(argument).decode("utf-8") if any("\udc80" <= c <= "\udcff" for c in argument) else argument
    except UnicodeDecodeError:
        return argument


def _open_streams() -> None:
    """Standard streams that were closed (``>&-``) go nowhere; a file opened later would take their place."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115 - to the end


def _silence() -> None:
    """Let what is left in the buffer go nowhere, rather than fail again when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(message: str) -> None:
    with contextlib.suppress(OSError):
        print(f"ranef: {message}", file=sys.stderr)


@contextlib.contextmanager
def _notes() -> Iterator[None]:
    """Warnings and lines of the log, one line each."""
    log, lines = logging.getLogger("ranef"), _Lines(logging.WARNING)
    log.addHandler(lines)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", RanefWarning)
            warnings.showwarning = _show_warning
            yield
    finally:
        log.removeHandler(lines)


class _Lines(logging.Handler):
    """Lines of the log as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one."""
        _say(f"note: {record.getMessage()}")


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _say(f"note: {message}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ranef", description="Mixed models two ways from one lme4-style formula: REML/ML with BLUPs, and NUTS."
    )
    parser.add_argument("--version", action="version", version=f"ranef {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shown = argparse.ArgumentDefaultsHelpFormatter
    demo = commands.add_parser("demo", help="the pulp data both ways: equation, summaries, table, figure")
    demo.add_argument("--figure", type=Path, default=Path("shrinkage.png"), metavar="F.png", help="where it is saved")
    demo.add_argument("--seed", type=_seed, default=1, metavar="N")
    demo.set_defaults(run=_demo)
    data = commands.add_parser("data", help="list the bundled data sets")
    data.set_defaults(run=_data)
    fit = commands.add_parser("fit", help="fit by REML or ML and print the summary", formatter_class=shown)
    _model_arguments(fit)
    ddf = ("satterthwaite", "kenward-roger", "residual")
    fit.add_argument("--ddf", type=str.lower, choices=ddf, default=None, help="degrees of freedom, with p-values")
    fit.add_argument("--confint", choices=("wald", "profile", "bootstrap"), default=None, help="print intervals, too")
    fit.add_argument("--seed", type=_seed, default=None, metavar="N", help="of the bootstrap")
    fit.set_defaults(run=_fit)
    nested = commands.add_parser("anova", help="compare nested models", formatter_class=shown)
    _data_argument(nested)
    nested.add_argument("formulas", metavar="FORMULA", nargs="+", help="two or more models of the same response")
    _fit_arguments(nested, "ML")
    tests = ("LRT", "bootstrap", "KR", "Satterthwaite")
    nested.add_argument("--test", type=_one_of(tests), metavar="TEST", default="LRT", help=", ".join(tests))
    nested.add_argument("--nsim", type=_positive, default=1000, metavar="N", help="simulations of the bootstrap")
    nested.add_argument("--seed", type=_seed, default=None, metavar="N", help="the same gives the same simulations")
    nested.set_defaults(run=_anova)
    both = commands.add_parser("compare", help="fit both ways and print the side-by-side table", formatter_class=shown)
    _model_arguments(both)
    both.add_argument("--draws", type=_positive, default=1000, metavar="N", help="draws kept of each chain")
    both.add_argument("--warmup", type=_positive, default=None, metavar="N", help="warm-up steps of each chain")
    both.add_argument(
        "--sampler", choices=("numpyro", "nutpie", "direct", "auto"), default="numpyro", help="what draws"
    )
    both.add_argument("--chains", type=_positive, default=4, metavar="N", help="number of chains")
    both.add_argument("--seed", type=_seed, default=None, metavar="N", help="the same seed gives the same draws")
    both.add_argument("--figure", type=Path, default=None, metavar="F.png", help="save the figure")
    both.add_argument("--json", type=Path, default=None, metavar="F", help="write all frames as JSON")
    both.add_argument("--html", type=Path, default=None, metavar="F.html", help="write a page to send to a colleague")
    both.add_argument("--overwrite", action="store_true", help="replace files that exist")
    both.set_defaults(run=_compare)
    return parser


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - only where it is asked for

    return version("ranef")


def _model_arguments(parser: argparse.ArgumentParser) -> None:
    _data_argument(parser)
    parser.add_argument("formula", metavar="FORMULA", help="for example 'Reaction ~ Days + (Days | Subject)'")
    _fit_arguments(parser, None)


def _data_argument(parser: argparse.ArgumentParser) -> None:
    files = "a CSV, Parquet or Arrow file, or - for standard input"
    parser.add_argument("data", metavar="DATA", help=f"a bundled data set (see `ranef data`), {files}")
    parser.add_argument(
        "--na",
        action="append",
        default=[],
        metavar="CODE",
        help="a missing value in a CSV file, as - or 9999; may repeat",
    )
    parser.add_argument("--decimal", choices=(".", ","), default=None, help="decimal mark in a CSV file; else guessed")
    marks = "mark between thousands, as , . or a blank"
    parser.add_argument("--thousands", type=_mark, default=None, metavar="MARK", help=marks)


def _fit_arguments(parser: argparse.ArgumentParser, method: str | None) -> None:
    parser.add_argument("--method", type=str.upper, choices=("REML", "ML"), default=method, help="of the first engine")
    parser.add_argument("--weights", default=None, metavar="COLUMN", help="column of prior weights, or of trials")
    parser.add_argument(
        "--family",
        default="gaussian",
        metavar="F",
        help="a word of ranef.families, as binomial, poisson, negative binomial, gamma, beta, ordinal",
    )
    parser.add_argument("--link", default=None, metavar="L", help="another link than the usual one, as probit")
    parser.add_argument("--nagq", type=_positive, default=1, metavar="N", help="points of quadrature; 1 is Laplace's")


def _one_of(names: Sequence[str]) -> Callable[[str], str]:
    """A reader of one of some names, whatever the case."""
    known = {name.lower(): name for name in names}

    def read(text: str) -> str:
        if text.lower() not in known:
            raise argparse.ArgumentTypeError(f"{text!r} must be one of {', '.join(names)}")
        return known[text.lower()]

    return read


def _seed(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 0, as 1")
    return int(text)


def _mark(text: str) -> str:
    if len(text) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be one character, as , . or a blank")
    return text


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


def read_data(name: str, known: Reading) -> pd.DataFrame:
    """A bundled data set by name, or a CSV, Parquet or Arrow file by path.

    How a text file is written is found by a look at it, but for what is `known`: see
    :func:`~_ranef.datasets.tablefiles.read_table_file`.

    Raises
    ------
    DesignError
        If it is neither, or the file cannot be read.
    """
    path = Path(name)
    if not (path.exists() or path.suffix or len(path.parts) != 1):
        return datasets.load(name)
    if not path.is_file():
        what = "is a directory" if path.is_dir() else "does not exist"
        raise DesignError(
            f"The file {name!r} {what}. Give a CSV, Parquet or Arrow file, - for what comes through a pipe, or one of "
            "the names in `ranef data`."
        )
    return read_table_file(path, known)


def _known(options: argparse.Namespace, formula: str) -> Reading:
    labels = parse_formula(formula, functions=registered(None)).label_columns
    return Reading(tuple(options.na), labels - {options.weights}, options.decimal, options.thousands)


def _model(options: argparse.Namespace, formula: str) -> Model:
    data = read_data(options.data, _known(options, formula))
    return Model(formula, data, weights=options.weights, family=options.family, link=options.link)


@contextlib.contextmanager
def _stored(options: argparse.Namespace) -> Iterator[None]:
    """What comes through a pipe as a file for the time being, for it is read more than once."""
    given = getattr(options, "data", None)
    if given != "-" and not (given and Path(given).is_fifo()):
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, PIPED)
        with path.open("wb") as file, _incoming(given) as source:
            shutil.copyfileobj(source, file)
        options.data = str(path)
        yield


def _incoming(name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    if name != "-":
        return Path(name).open("rb")
    if sys.stdin.isatty():
        _say("reading from the terminal; Ctrl-D ends")
    return contextlib.nullcontext(sys.stdin.buffer)


def _fit(options: argparse.Namespace) -> None:
    fit = _model(options, options.formula).fit(options.method, nagq=options.nagq)
    ddf = {} if options.ddf is None else {"ddf": options.ddf}  # which fits of some families do not take
    print(fit.summary(**ddf))
    if options.confint is not None:
        more = ddf if options.confint == "wald" else {}
        more = more | ({} if options.confint != "bootstrap" else {"seed": options.seed})
        intervals = fit.confint(method=options.confint, **more)
        print(f"\n95 % intervals by {options.confint}:\n{intervals.to_string(float_format=lambda v: f'{v:.5g}')}")


def _anova(options: argparse.Namespace) -> None:
    fits = [_model(options, formula).fit(options.method, nagq=options.nagq) for formula in options.formulas]
    print(anova(*fits, test=options.test, nsim=options.nsim, seed=options.seed))


def _data(_: argparse.Namespace) -> None:
    for name in datasets.names():
        about = datasets.describe(name).about
        print(f"{name:16s} {about}")


def _compare(options: argparse.Namespace) -> int:
    if options.figure is not None:
        check_output(options.figure, FIGURES, overwrite=options.overwrite)
    if options.json is not None:
        check_output(options.json, (), overwrite=options.overwrite)
    if options.html is not None:
        check_output(options.html, PAGES, overwrite=options.overwrite)
    for path in (options.figure, options.json, options.html):
        if path is not None and path.exists() and Path(options.data).exists() and path.samefile(options.data):
            raise DesignError(f"{str(path)!r} holds the data, and is not written to. Give another name.")
    model = _model(options, options.formula)
    eb = model.fit(options.method, nagq=options.nagq)
    fb = model.sample(options.draws, options.warmup, options.chains, options.seed, sampler=options.sampler)
    both = compare(eb, fb)
    print(both)
    if options.figure is not None:
        print(f"\nFigure: {both.save_figure(options.figure)}")
    if options.json is not None:
        text = json.dumps(both.to_dict(), indent=1, allow_nan=False) + "\n"
        write_whole(options.json, lambda partial: partial.write_text(text, encoding="utf-8"))
        print(f"\nJSON: {options.json}")
    if options.html is not None:
        page = both.report(
            options.html,
            data=_reading(options.data, _known(options, options.formula)),
            overwrite=options.overwrite,
            command=_command(options),
        )
        print(f"\nPage: {page}")
    return 0 if fb.draws.complete else INTERRUPTED


def _reading(name: str, known: Reading) -> str:
    """Python that reads what `read_data` reads."""
    path = Path(name)
    call = reading_call(path, known) if path.is_file() else f"ranef.datasets.load({name!r})"
    return call.replace(repr(name), "sys.stdin.buffer") if path.name == PIPED else call


def _command(options: argparse.Namespace) -> str:
    """The command line, quoted for a shell; a seed that was chosen for the user is not in it."""
    return shlex.join(["ranef", *options.arguments])


def _demo(options: argparse.Namespace) -> int:
    check_output(options.figure, FIGURES)
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
    return 0 if fb.draws.complete else INTERRUPTED
