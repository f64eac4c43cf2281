"""May a call begin that has no record? What its step says of repetitions, and the budgets around it."""

from __future__ import annotations

from perdure.core.execution.history import History
from perdure.core.execution.spec import Call
from perdure.core.execution.spending import NOTHING
from perdure.core.values import codec
from perdure.errors import BudgetExceeded, RepeatLimit


def refuse_repeated(call: Call) -> RepeatLimit | None:
    """The refusal of a call that was made as often as its step allows."""
    spec = call.spec
    if spec.max_repeats is None or call.n < spec.max_repeats:
        return None
    return RepeatLimit(
        f"{spec.owner} has been called {spec.max_repeats} times with {codec.describe_inputs(call.input)} in this run, "
        "and is not called once more (max_repeats)",
        "let the workflow catch it, and go on with what there is: the same call comes to the same end",
    )


def admit(call: Call, history: History) -> BudgetExceeded | None:
    """The refusal of a call that a budget around it does not let begin; without one, it counts from now on."""
    earlier = history.spent_by(call) if history.spent or history.spent_by_children else NOTHING
    spec = call.spec
    for ledger in call.ledgers:
        if spec.undo is not None:
            ledger.undoable = True
        refusal = ledger.admit(spec.owner, earlier)
        if refusal is not None:
            for other in call.ledgers[: call.ledgers.index(ledger)]:
                other.withdraw(earlier)
            return refusal
    return None


def refused(call: Call, history: History) -> None:
    """A call has failed that was not let begin: what it spent in earlier lives counts, as when its record is read."""
    for ledger in call.ledgers:
        ledger.replayed(history.spent_by(call))


def not_made(call: Call, history: History) -> None:
    """A call has failed that was let begin, without an attempt in any life: it is no call, as in its record."""
    if call.ledgers and not call.counted and history.spent_by(call).calls == 0:
        for ledger in call.ledgers:
            ledger.withdraw(NOTHING)
