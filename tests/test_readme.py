"""The README's commands and code are what is run here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import ranef

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^    (python3 -m venv .*)$", README, flags=re.MULTILINE)


def test_two_commands_that_set_themselves_up():
    assert len(COMMANDS) == 2
    demo, tests = COMMANDS
    assert demo.endswith("ranef demo")
    assert tests.endswith("pytest")
    for command in COMMANDS:
        assert command.startswith("python3 -m venv --without-pip .venv && python3 -m pip --python .venv install ")
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_ci_runs_the_test_command():
    found = subprocess.run(
        ["sed", "-n", r"s/^    \(python3 .*pytest\)$/\1/p", str(ROOT / "README.md")], capture_output=True, text=True
    )
    assert found.stdout.strip() == COMMANDS[1]
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def test_first_example_prints_the_table_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it writes its page here
    source = re.search(r"```python\n(.*?)```", README, flags=re.DOTALL)[1]
    shown = re.search(r"```text\n(.*?)```", README, flags=re.DOTALL)[1]
    namespace: dict[str, object] = {}
    exec(source.replace("seed=1", "seed=1, progress=False"), namespace)
    printed = repr(namespace["both"])
    # the posterior half depends in its last digits on the versions of jax and numpyro
    half = shown.splitlines()[3].index("Posterior")
    (printed, agreed), (shown, agreement) = (text.split("How far they agree:") for text in (printed, shown))
    assert [line[: half - 4].split() for line in printed.splitlines()] == [
        line[: half - 4].split() for line in shown.splitlines()
    ]
    without_numbers = [re.sub(r"[\d.]+|\(operator ., ", "", text).split() for text in (agreed, agreement)]
    assert without_numbers[0] == without_numbers[1]


def test_names_the_readme_promises():
    fit = ranef.Model("bright ~ 1 + (1 | operator)", ranef.datasets.load("pulp")).fit()
    both, only_eb = re.search(
        r"answer the same questions.*?: (.*?)\. A REML or ML fit adds (.*?); a posterior", README, flags=re.DOTALL
    ).groups()
    for name in re.findall(r"`(\w+)", both + only_eb):
        assert hasattr(fit, name), name


def test_images_exist():
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / path).is_file()
