"""What `perdure crashtest` prints."""

from __future__ import annotations

from perdure.cli.exit_codes import DONE, FAILED
from perdure.cli.view.terminal import Printer, count, one_line
from perdure.core.durations import show
from perdure.crashtest.campaign import Report

UNFINISHED = 3
"""The exit code: nothing was found, but not everything was tested."""

CODES = {"unsafe": "phantom-retry", "drift": "code-drift", "non-deterministic": "code-drift", "stuck": "stuck-wait"}
"""Which failure of the catalogue each kind of finding leads to."""


def exit_code(report: Report) -> int:
    """0: nothing was found; 1: something was; 3: not everything was tested."""
    if any(finding.kind != "slow" for finding in report.findings):
        return FAILED
    return DONE if report.finished else UNFINISHED


def show_report(report: Report, arguments: str) -> None:
    """Print it."""
    printer = Printer()
    called = f"{report.workflow} {arguments}".strip()
    printer.line(
        f"crashtest {one_line(called)}   {count(report.steps, 'step')}, {count(len(report.names), 'name')};"
        f" {count(report.kills, 'kill')} at {count(report.places, 'place')}, {show(report.seconds)}",
        "bold",
    )
    if report.ending:
        printer.line(
            one_line(f"undisturbed, the run fails, so what comes later is not tested: {report.ending}"), "yellow"
        )
        printer.line("if it is meant to, name the class of the error: --expect-error CLASS")
    if report.expected:
        printer.line(one_line(f"undisturbed, the run fails as it is meant to: {report.expected}"), "dim")
    if report.at_the_end:
        printer.line(one_line(f"undisturbed, the run fails at its end, when all is done: {report.at_the_end}"), "dim")
    for failed in report.clean_ups:
        printer.line(one_line(f"undisturbed, a clean-up fails for good, and is a dead letter: {failed}"), "yellow")
    refused = sorted({f"{each.what} ({each.kind}){f' in {each.step}' if each.step else ''}" for each in report.refused})
    if refused:
        printer.line(
            one_line(f"not tested, since it was refused, nor what comes behind it: {', '.join(refused)}"), "yellow"
        )
        printer.line(
            "allow what is harmless (--allow-program, --allow-host), or give the step's result: --stub STEP=JSON"
        )
    if not report.ending and not report.clean_ups and not report.findings and not refused:
        end = "error" if report.expected else "result"
        same = f"same {end} and files, but for what is said below" if report.unstable else f"same {end} and files"
        printer.line(f"ok      resumed from every kill; {same}; deterministic", "green")
    width = max((len(finding.kind) for finding in report.findings), default=0)
    for finding in report.findings:
        code = f" [{CODES[finding.kind]}]" if finding.kind in CODES else ""
        at = f"   {finding.at}" if finding.at else ""
        printer.line(one_line(f"{finding.kind:<{max(width, 6)}}  {finding.text}{code}{at}"), "red")
        if finding.fix:
            printer.line(one_line(f"{'':<{max(width, 6)}}  {finding.fix}"))
    for how in ("keyed", "repeatable", "accepted"):
        steps = sorted({each.effect.step or "the workflow" for each in report.repeated if each.how == how})
        if steps:
            printer.line(one_line(f"{how:<10}  {', '.join(steps)}"))
    if report.unstable:
        differs = ", ".join(report.unstable)
        printer.line(one_line(f"not compared, since it differs from run to run without a kill: {differs}"), "dim")
    for workflow, number in report.enqueued.items():
        which = f"{count(number, 'run')} of {workflow}, which the workflow enqueues"
        printer.line(one_line(f"not executed: {which}; test it by itself: perdure crashtest FILE:{workflow}"), "dim")
    for what in report.missing:
        option = "--approval yes" if what.startswith("approval ") else "--signal NAME=JSON"
        printer.line(one_line(f"not given, so its time was over at once: {what}; give it: {option}"), "yellow")
    printer.line(one_line(f"not killed: {', '.join(report.not_killed) or 'nothing'}"))
    printer.line(
        f"refused: {', '.join(sorted({one_line(f'{x.what} ({x.kind})') for x in report.refused})) or 'nothing'}"
    )
