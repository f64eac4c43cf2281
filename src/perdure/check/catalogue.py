"""Every code of `perdure check`, in the order in which docs/check.md explains them."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.check.findings import Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of finding: how bad it is, what it finds, what to do."""

    severity: Severity
    finds: str
    fix: str


def _rules(severity: Severity, **rules: tuple[str, str]) -> dict[str, Rule]:
    return {name.replace("_", "-"): Rule(severity, finds, fix) for name, (finds, fix) in rules.items()}


RULES: dict[str, Rule] = {
    **_rules(
        "error",
        nondeterministic_input=(
            "the clock, chance or the process reaches the input of a step",
            "take it from perdure.now(), perdure.uuid() or perdure.random(), or read it in a step",
        ),
        nondeterministic_branch=(
            "the clock, chance or the process decides which steps are called",
            "decide by perdure.now() or perdure.random(), or by the result of a step",
        ),
        new_identity=(
            "a workflow is called with the time or a random value, so no call goes on with an unfinished run",
            "pass what the run is about, such as the day, or name the run: with_options(id=...)",
        ),
        unordered_calls=(
            "steps are called in the order of a set, which is another one in each process",
            "iterate over sorted(...)",
        ),
        outside_step=(
            "workflow code talks to the outside itself: HTTP, a model, mail, a database, a program",
            "move the call into a function decorated with @step",
        ),
        thread=(
            "steps are called in a process that the workflow starts, or in a thread that it does not wait for",
            "use .map(items, concurrency=...), or a pool of threads in a `with` block",
        ),
        not_awaited=(
            "an async step is called, and nothing awaits it: it never runs",
            "write `await` before the call",
        ),
        lost_global=(
            "a step changes a variable outside of it; a resumed run does not execute the step, and does not see it",
            "return the value from the step",
        ),
        unstorable=(
            "a step or workflow returns what cannot be stored",
            "return the data in it: builtins, a dataclass, or the path of a file",
        ),
        changed_argument=(
            "a step changes an argument in place, which a resumed run does not see; the step is refused",
            "work on a copy, and return what the workflow needs",
        ),
        swallowed=(
            "any error is caught, and nothing is done about it",
            "catch the class that is expected, or raise: the step's retry and the dead letters do the rest",
        ),
        batch_as_list=(
            "a map gives a batch, and it is used as if it were the list of the results",
            "take batch.results, and look at batch.dead or call batch.raise_if_dead() first",
        ),
        not_a_step=(
            "a plain function is given as undo= or to perdure.defer, which take a step",
            "decorate the function with @step, above the place that names it",
        ),
        no_timeout=(
            "a call of a network or a program has no timeout, and its step has none either",
            'give the call a timeout, or the step: @step(timeout="30s")',
        ),
        renamed=(
            "unfinished runs have results of a step that the script no longer defines",
            "give the step its recorded name: @step(name=...)",
        ),
        bad_ignore=(
            "a comment `perdure: ignore[...]` has no reason, or names no rule; it is not obeyed",
            "write `# perdure: ignore[code] reason`",
        ),
    ),
    **_rules(
        "warning",
        status_unchecked=(
            "an HTTP answer is used, and its status is never looked at",
            "call raise_for_status() on it",
        ),
        nested_step=(
            "a step is called in a step: a plain call there, without its retry, and not saved",
            "call it in the workflow, or make it a plain function",
        ),
        unread_letters=(
            "items of a map may have failed for good, and nothing looks",
            "call raise_if_dead() on the batch, or look at .dead or .ok",
        ),
        unprotected_effect=(
            "an effect that is made again if the process dies before the step is saved",
            "send perdure.idempotency_key(), write with an upsert, or write the whole file",
        ),
        moved_input=(
            "a step moves a file that it has not made, and that it does not find when it is made again",
            "look whether it is still there: if source.exists(): os.replace(source, target)",
        ),
        error_as_result=(
            "any error is turned into an empty result, which is saved as if it were one",
            "raise: the step is tried again, and a failure is seen",
        ),
        double_retry=(
            "a step is tried again by perdure and inside of itself, so attempts multiply and Retry-After is not shared",
            "let one of the two retry: max_retries=0, or @step(retry=None)",
        ),
        global_in_workflow=(
            "workflow code uses a variable of its module that is changed while the program runs",
            "pass the value as an argument, or return it from a step",
        ),
        file_in_workflow=(
            "workflow code reads or writes files itself, which may be others when the run is resumed",
            "move it into a step",
        ),
        environment_in_workflow=(
            "the environment or the command line reaches the input of a step, or decides, and may be another on resume",
            "pass it to the workflow as an argument, or read it in a step",
        ),
        command_line_in_global=(
            "a step or workflow reads a variable that comes from the command line, which is no input of the run",
            "pass it to the workflow as an argument, and from there to the step",
        ),
        clean_up_in_finally=(
            "a `finally` of workflow code calls steps: not after a kill, and also when the run is to be resumed",
            "register the clean-up with perdure.defer(step, ...)",
        ),
        secret_argument=(
            "a credential is an argument of a step or workflow, and is stored with its inputs",
            "annotate it as perdure.Secret, or read it in the step",
        ),
    ),
    **_rules(
        "hint",
        item_by_item=(
            "a loop calls a step for each item: the first item that fails for good stops the rest",
            "use step.map(items, key=..., concurrency=...)",
        ),
        unbounded_loop=(
            "a loop that calls steps has no bound",
            "bound it: for ... in range(...), and say what happens then",
        ),
        sleep_in_workflow=(
            "workflow code sleeps, and sleeps again when it is resumed",
            "use perdure.sleep, which is durable: a run that is resumed sleeps for the rest of the time",
        ),
        slow_default=(
            "a client of a model waits 10 minutes for an answer by default, and its step has no timeout",
            "give the client or the step a timeout",
        ),
        growing_input=(
            "a list grows in a loop and is given to a step each time: all of it is stored with each call",
            "pass what is new, or keep it in a file",
        ),
        no_breaker=(
            "a map calls a service many times at once without a breaker or a rate",
            '@step(breaker="name") or @step(rate="10/s")',
        ),
        no_alert=(
            "nobody gets an alert when the workflow ends badly, unless the environment names a target",
            "@workflow(alert=...), or PERDURE_ALERTS, and perdure alert test",
        ),
        no_time_zone=(
            "a schedule names a local time without its time zone: that of the machine which declares it counts",
            '@workflow(schedule="0 3 * * *", tz="Europe/Berlin"), or tz="UTC"',
        ),
    ),
}
