from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import _ranef
import ranef
from _ranef.cli import main
from permissions import without_privileges
from terminal import open_terminal, read_until


def test_fit(capsys):
    assert main(["fit", "pulp", "bright ~ 1 + (1 | operator)"]) == 0
    out = capsys.readouterr().out
    assert "REML criterion at convergence: 18.6" in out
    assert main(["fit", "pulp", "bright ~ 1 + (1 | operator)", "--method", "ML"]) == 0
    assert "maximum likelihood" in capsys.readouterr().out


def test_fit_a_family(capsys):
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    assert main(["fit", "cbpp", formula, "--family", "binomial", "--nagq", "9", "--confint", "wald"]) == 0
    printed = capsys.readouterr().out
    assert "Family: binomial (logit)" in printed
    assert "quadrature with 9 points" in printed
    assert "95 % intervals by wald" in printed
    smaller = formula.replace("period", "1")
    assert main(["anova", "cbpp", smaller, formula, "--family", "binomial", "--link", "probit"]) == 0
    assert "Likelihood ratio tests" in capsys.readouterr().out
    assert main(["fit", "cbpp", formula, "--family", "binomial", "--ddf", "residual"]) == 2


def test_compare_a_family(tmp_path, capsys):
    formula, short = "cbind(incidence, size - incidence) ~ period + (1 | herd)", ["--draws", "200", "--warmup", "300"]
    options = ["--family", "binomial", "--seed", "1", *short]
    files = ["--figure", str(tmp_path / "herds.png"), "--json", str(tmp_path / "all.json")]
    files += ["--html", str(tmp_path / "page.html")]
    assert main(["compare", "cbpp", formula, *options, *files]) == 0
    printed = capsys.readouterr().out
    assert "Laplace" in printed
    assert "conditional mode" in printed
    assert (tmp_path / "herds.png").stat().st_size > 10_000
    assert "herd" in (tmp_path / "page.html").read_text()
    found = json.loads((tmp_path / "all.json").read_text())
    assert found["fits"]["eb"]["engine"] == "Laplace"
    assert len(found["random_effects"]) == 15


def test_fit_with_degrees_of_freedom(capsys):
    formula = "Reaction ~ Days + (Days | Subject)"
    assert main(["fit", "sleepstudy", formula, "--ddf", "Kenward-Roger"]) == 0
    assert "Pr(>|t|)" in capsys.readouterr().out
    assert main(["fit", "sleepstudy", formula, "--method", "ML", "--ddf", "kenward-roger"]) == 2
    assert "model.fit()" in capsys.readouterr().err


def test_intervals(capsys):
    assert main(["fit", "pulp", "bright ~ 1 + (1 | operator)", "--method", "ML", "--confint", "profile"]) == 0
    assert "95 % intervals by profile:" in (out := capsys.readouterr().out)
    assert "sd(Intercept | operator)" in out
    assert main(["fit", "pulp", "bright ~ 1 + (1 | operator)", "--confint", "bootstrap", "--seed", "1"]) == 0
    assert "95 % intervals by bootstrap:" in capsys.readouterr().out


def test_anova(capsys):
    formulas = ["bright ~ 1 + (1 | operator)", "bright ~ 1"]
    assert main(["anova", "pulp", *formulas]) == 0
    assert "2.568  1     0.1090   0.0545" in capsys.readouterr().out
    assert main(["anova", "pulp", *formulas, "--test", "bootstrap", "--nsim", "50", "--seed", "1"]) == 0
    assert "50 simulations" in capsys.readouterr().out
    assert main(["anova", "pulp", formulas[0]]) == 2
    assert "There is one fit" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["anova", "pulp", *formulas, "--test", "F"])
    assert "must be one of LRT, bootstrap, KR, Satterthwaite" in capsys.readouterr().err


def test_compare_a_csv(tmp_path, capsys):
    csv, figure, out = tmp_path / "mine.csv", tmp_path / "f.png", tmp_path / "both.json"
    ranef.datasets.load("dyestuff").to_csv(csv, index=False)
    options = ["--sampler", "nutpie", "--draws", "200", "--seed", "1", "--figure", str(figure), "--json", str(out)]
    assert main(["compare", str(csv), "Yield ~ 1 + (1 | Batch)", *options]) == 0
    printed = capsys.readouterr().out
    assert "side by side" in printed
    assert figure.stat().st_size > 10_000
    record = json.loads(out.read_text())
    assert record["seed"] == 1
    assert {r["level"] for r in record["random_effects"]} == set("ABCDEF")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["both.json", "f.png", "mine.csv"]
    assert main(["compare", str(csv), "Yield ~ 1 + (1 | Batch)", *options]) == 2
    assert "f.png' exists and is left as it is" in capsys.readouterr().err


def test_parquet(tmp_path, capsys):
    path = tmp_path / "mine.parquet"
    ranef.datasets.load("pulp").to_parquet(path)
    assert main(["fit", str(path), "bright ~ 1 + (1 | operator)"]) == 0
    assert "operator, 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "pulpp", "bright ~ 1 + (1 | operator)"], "Did you mean 'pulp'"),
        (["fit", "none.csv", "y ~ 1"], "'none.csv' does not exist"),
        (["fit", ".", "y ~ 1"], "'.' is a directory"),
        (["compare", "pulp", "bright ~ 1 + (1 | operator)", "--json", "/proc/x.json"], "Nothing can be written"),
        (["compare", "pulp", "bright ~ 1 + (1 | operator)", "--json", "/tmp"], "is a directory"),
        (["fit", "pulp", "bright ~ 1 + (1 | operatr)"], "Did you mean 'operator'"),
        (["fit", "pulp", "bright ~ 1 + (1 | operator"], "never closed"),
        (["fit", "pulp", "bright ~ __import__('os').system('true')"], "__import__"),
        (["compare", "pulp", "bright ~ 1 + (1 | operator)", "--figure", "/nowhere/f.png"], "does not exist"),
        (["compare", "pulp", "bright ~ 1 + (1 | operator)", "--figure", "f.xyz"], "must end in"),
        (["compare", "pulp", "bright ~ 1"], "no random effects"),
    ],
)
def test_bad_input_is_one_message_and_status_2(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.startswith("ranef: ")
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_separators_and_lists(tmp_path, capsys):
    data = ranef.datasets.load("pulp")
    for name, sep in (("a.csv", ";"), ("b.tsv", "\t"), ("c.csv", ",")):
        data.to_csv(tmp_path / name, index=False, sep=sep)
        assert main(["fit", str(tmp_path / name), "bright ~ 1 + (1 | operator)"]) == 0
    assert capsys.readouterr().out.count("18.6") == 3
    assert main(["data"]) == 0
    assert "sleepstudy" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0


def test_a_terminal_without_unicode_loses_nothing():
    command = [sys.executable, "-m", "ranef.cli", "compare", "pulp", "bright ~ 1 + (1 | operator)"]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    run = subprocess.run([*command, "--sampler", "direct"], capture_output=True, timeout=120, env=env)
    assert run.returncode == 0, run.stderr
    assert b"side by side" in run.stdout


@pytest.mark.slow
def test_ctrl_c_while_compiling_ends_in_130(folder_with_loops):
    """The bars of a terminal are there once the initial state is compiled, and the long part begins."""
    command = [sys.executable, "-m", "ranef.cli", "compare", "sleepstudy", "Reaction ~ Days + (Days | Subject)"]
    ours, side = open_terminal()
    env = os.environ | {"RANEF_CACHE_DIR": str(folder_with_loops)}
    process = subprocess.Popen([*command, "--draws", "100000"], stderr=side, stdout=subprocess.DEVNULL, env=env)
    os.close(side)
    written = read_until(ours, b"compiling")
    process.send_signal(signal.SIGINT)
    written += read_until(ours)
    assert process.wait(timeout=120) == 130, written.decode()
    assert b"Traceback" not in written


FIT = f"{sys.executable} -m ranef.cli fit pulp 'bright ~ 1 + (1 | operator)'"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="closes and fills streams as POSIX shells do")
@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        (f"{FIT} >&-", 0, ""),
        (f"{FIT} >&- 2>&-", 0, ""),
        (f"{FIT} > /dev/full", 2, "ranef: [Errno 28] No space left on device\n"),
        (f"({FIT}; echo $? >&2) | head -1", 0, "0\n"),
    ],
)
def test_an_output_that_nobody_reads(command, status, told):
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, told)


@pytest.mark.skipif(os.name == "nt", reason="locales as POSIX has them")
def test_a_column_that_the_locale_cannot_spell(tmp_path):
    """The bytes of a formula are UTF-8, whatever the locale; what it cannot show is printed as a question mark."""
    path = tmp_path / "mine.csv"
    ranef.datasets.load("pulp").rename(columns={"bright": "höhe"}).to_csv(path, index=False)
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "ranef.cli", "fit", str(path), "höhe ~ 1 + (1 | operator)".encode()]
    done = subprocess.run(command, capture_output=True, env=env)
    assert done.returncode == 0, done.stderr
    assert b"h?he ~ 1 + (1 | operator)" in done.stdout
    assert b"18.6" in done.stdout


@pytest.mark.slow
def test_demo_of_an_installation_that_is_only_read(tmp_path):
    """Package, home and working folder hold nothing that can be written; it takes longer, and one line says why."""
    package, home = tmp_path / "installed", tmp_path / "home"
    for part in (ranef, _ranef):
        here = Path(part.__file__).parent
        shutil.copytree(here, package / here.name, ignore=shutil.ignore_patterns("__pycache__"))
    home.mkdir()
    for path in [package, *package.rglob("*"), home]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    env = os.environ | {"PYTHONPATH": str(package), "HOME": str(home), "MPLCONFIGDIR": str(tmp_path)}
    env.pop("XDG_CACHE_HOME", None)
    by_nutpie = ["compare", "pulp", "bright ~ 1 + (1 | operator)", "--sampler", "nutpie", "--draws", "20"]
    for chosen, arguments in (("", ["demo"]), ("off", by_nutpie)):
        command = without_privileges(sys.executable, "-m", "ranef.cli", *arguments)
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env=env | {"RANEF_CACHE_DIR": chosen}
        )
        assert done.returncode == 0, done.stderr
        assert "side by side" in done.stdout
        assert done.stderr.count("ranef: note: What is compiled") == 1
    assert not any(home.iterdir())


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["fit", "pulp"], ["compare", "pulp", "y ~ x", "--draws", "0"]])
def test_usage_errors(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_demo(tmp_path):
    """The whole demo in a process of its own, as the README runs it."""
    figure = tmp_path / "shrinkage.png"
    command = [sys.executable, "-m", "ranef.cli", "demo", "--figure", str(figure)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    for words in ("REML criterion at convergence: 18.6", "sampled by NUTS", "side by side", "operator", "0.2609"):
        assert words in run.stdout
    assert figure.read_bytes()[:4] == b"\x89PNG"


def test_the_data_are_not_written_over(tmp_path, capsys):
    csv = tmp_path / "mine.csv"
    ranef.datasets.load("dyestuff").to_csv(csv, index=False)
    before = csv.read_bytes()
    assert main(["compare", str(csv), "Yield ~ 1 + (1 | Batch)", "--json", str(csv), "--overwrite"]) == 2
    assert "holds the data, and is not written to" in capsys.readouterr().err
    assert csv.read_bytes() == before


@pytest.mark.parametrize(
    ("option", "told"),
    [("--seed=first", "'first' must be a whole number of at least 0"), ("--thousands=", "'' must be one character")],
)
def test_options_that_cannot_be_read_say_what_they_are(capsys, option, told):
    with pytest.raises(SystemExit):
        main(["fit", "sleepstudy", "Reaction ~ Days + (1 | Subject)", option])
    assert told in capsys.readouterr().err
