"""`perdure alert`: test that alerts arrive, list what waits, deliver it now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from perdure.alerts.spool import Pending
from perdure.cli.exit_codes import DONE, FAILED
from perdure.cli.shared_parameters import ANY_STATE_FILE, File, Json, WhichStateFile
from perdure.cli.view.terminal import Printer, as_json, count, date
from perdure.operations import alerts

app = App(name="alert", help="Test that alerts arrive, list what waits, deliver it now.")


@app.command(name="test")
def deliver_test(
    *,
    to: Annotated[
        list[str] | None, Parameter("--to", negative="", help="A target to test, instead of those that are configured.")
    ] = None,
    json: Json = False,
    file: File = None,
) -> int:
    """Send a test alert to every target, and show for each whether it was delivered."""
    tests = alerts.deliver_test(alerts.configured_targets(to or [], file))
    if json:
        as_json({"tests": tests})
    else:
        printer = Printer()
        for one in tests:
            if one.delivered:
                printer.line(f"{one.target}: delivered in {one.ms:,} ms", "green")
            else:
                printer.line(f"{one.target}: not delivered: {one.what}", "red")
                if one.hint:
                    printer.line(f"  what to do: {one.hint}")
    return DONE if all(one.delivered for one in tests) else FAILED


@app.command
def pending(*, json: Json = False, where: WhichStateFile = ANY_STATE_FILE) -> int:
    """List the alerts that wait to be delivered, oldest first."""
    found = alerts.pending(where.locate_for_runs(also_missing=True), where.file)
    if json:
        as_json(found)
    else:
        _show(Printer(), found)
    return DONE


@app.command
def flush(*, json: Json = False, where: WhichStateFile = ANY_STATE_FILE) -> int:
    """Deliver what waits now, also what failed a moment ago."""
    failures, left = alerts.flush(where.locate_for_runs(also_missing=True), where.file)
    if json:
        as_json({"failures": failures, "pending": left})
    else:
        printer = Printer()
        for failure in failures:
            printer.line(f"{failure.target}: not delivered: {failure.what}", "red")
            if failure.hint:
                printer.line(f"  what to do: {failure.hint}")
        _show(printer, left)
    return FAILED if failures else DONE


def _show(printer: Printer, found: Pending) -> None:
    if not found.alerts:
        printer.line("no alert waits")
    else:
        rows = [
            (
                date(datetime.fromtimestamp(one.created, UTC)),
                one.target if one.configured else f"{one.target} (not configured)",
                str(one.tries),
                one.title,
                one.error or "-",
            )
            for one in found.alerts
        ]
        printer.table(("SINCE", "TARGET", "TRIES", "ALERT", "LAST ERROR"), rows)
    if found.counted:
        printer.line(f"{count(found.counted, 'repetition')} counted, to be sent when the 15 minutes are over")
    if found.dropped:
        printer.line(f"{count(found.dropped, 'older alert')} dropped: too many waited for one target", "yellow")
    if found.damaged:
        printer.line(f"{count(found.damaged, 'damaged file')} set aside", "yellow")
