"""`perdure crashtest`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from perdure.cli.exit_codes import INTERRUPTED
from perdure.cli.shared_parameters import Json
from perdure.cli.view.crashtest_page import exit_code, show_report
from perdure.cli.view.terminal import Printer, as_json
from perdure.config.module_names import dotted_name
from perdure.core.durations import seconds
from perdure.errors import NotFound, OptionError
from perdure.operations.scripts import split_target


def crashtest(
    target: Annotated[str, Parameter(help="The script, as FILE or FILE:WORKFLOW.")],
    *arguments: Annotated[str, Parameter(help="The workflow's own, after --.")],
    kills: Annotated[int, Parameter(help="How many runs are killed, at most.")] = 200,
    time: Annotated[str, Parameter(help="How long the kills may take: 60s, 5m.")] = "60s",
    seed: Annotated[int, Parameter(help="Chooses among the points to kill at.")] = 0,
    allow_host: Annotated[
        tuple[str, ...], Parameter(help="A host beside this machine that may be connected to; for real.")
    ] = (),
    allow_program: Annotated[tuple[str, ...], Parameter(help="A program that may be started; for real.")] = (),
    stub: Annotated[tuple[str, ...], Parameter(help="Instead of executing a step, give its result: STEP=JSON.")] = (),
    signal: Annotated[
        tuple[str, ...], Parameter(help="What each wait for a signal of that name is sent: NAME=JSON.")
    ] = (),
    approval: Annotated[
        Literal["yes", "no"] | None, Parameter(help="How every perdure.approval of the workflow is answered.")
    ] = None,
    oracle: Annotated[
        str | None, Parameter(help="A shell command, run in the copy at each end: its lines have to be the same.")
    ] = None,
    expect_error: Annotated[
        str | None,
        Parameter(
            help="The workflow is meant to raise an error of this class; every run has to, and to undo the same."
        ),
    ] = None,
    copy: Annotated[
        Path | None,
        Parameter(
            help="The folder that is copied for each kill; that of the script, or of the package it is in, by default."
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Kill a workflow at its commits and effects, resume it each time, and say what came out otherwise.

    It works on copies of the script's folder, with a state file of its own, and sends no alerts. Hosts other than this
    machine, programs, and files outside of the copy are refused, unless they are allowed.

    Exit codes: 0 nothing was found, 1 something was, 2 wrong usage, 3 not everything was
    tested: the time was over before each step was killed, something was refused, or the run fails by itself.
    """
    from perdure.crashtest.answers import Given
    from perdure.crashtest.campaign import crashtest as campaign
    from perdure.crashtest.lives import Target

    path, workflow = split_target(target)
    if not path.is_file():
        raise NotFound(f"there is no file {path}", "name the script that defines the workflow")
    if kills < 1:
        raise OptionError(f"--kills is {kills}", "give a number of 1 or more")
    script = path.resolve()
    folder = Path(dotted_name(str(script))[1]) if copy is None else copy.resolve()
    if not script.is_relative_to(folder):
        raise OptionError(f"{path} does not lie in the folder of --copy", "name a folder above the script")
    tested = Target(
        script,
        workflow,
        list(arguments),
        folder,
        Path.cwd() if Path.cwd().is_relative_to(folder) else script.parent,
        list(allow_host),
        list(allow_program),
        dict(_value("--stub", each, "charge", "the name of a step and its result") for each in stub),
        Given(
            dict(_value("--signal", each, "paid", "the name of a signal and its value") for each in signal),
            None if approval is None else approval == "yes",
        ),
    )
    aside = Printer(sys.stderr)
    try:
        report = campaign(
            tested,
            kills=kills,
            seconds=seconds(time, option="--time"),
            seed=seed,
            oracle=oracle,
            expect_error=expect_error,
            progress=lambda text: None if json else aside.line(text, "dim"),
        )
    except KeyboardInterrupt:
        aside.line("interrupted; the copies are removed", "bold")
        return INTERRUPTED
    if json:
        as_json({**msgspec.to_builtins(report), "finished": report.finished, "exit_code": exit_code(report)})
    else:
        show_report(report, shlex.join(arguments))
    return exit_code(report)


def _value(option: str, text: str, name: str, what: str) -> tuple[str, object]:
    given, equals, value = text.partition("=")
    try:
        if equals and given:
            return given, msgspec.json.decode(value)
    except msgspec.DecodeError:
        pass
    raise OptionError(f"{option} is {text!r}", f"give {what} as JSON: {option} '{name}={{\"id\": 7}}'")
