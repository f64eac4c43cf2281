"""The commands: what each is for, and where it is; a command's module is loaded when it is used."""

from __future__ import annotations

from cyclopts import App

FUNCTIONS = {
    "run": "Run a workflow, or go on with it: perdure run FILE[:WORKFLOW] [ARGUMENTS].",
    "ps": "List the runs, newest first.",
    "show": "Show one run: inputs, result or error, every step with its attempts, child runs.",
    "why": "Say why a run is not moving, and the commands that help.",
    "diagnose": "Say what is wrong with a run, with the records that show it, and the commands that help.",
    "failures": "List the kinds of failures, read about one, or explain the text of an error.",
    "resume": "Go on with a run, with the inputs that it was started with.",
    "fork": "Start a new run with the results of another up to a step, which is made again.",
    "cancel": "End an unfinished run for good, at its next safe point; its clean-ups are made.",
    "prune": "Remove runs that ended long ago, with all that is kept of them; never one that can be gone on with.",
    "signal": "Tell a run something: perdure signal RUN EVENT [JSON]; it is kept until a wait of the run takes it.",
    "approve": "Say yes to what a run asks with perdure.approval.",
    "reject": "Say no to it.",
    "get": "Print what a run has published: perdure get RUN NAME; from the state file, without its script.",
    "check": "Check scripts by their source: what breaks on resume, is lost, hangs, or is done twice.",
    "crashtest": "Kill a workflow at its commits and effects, resume it each time, and say what came out otherwise.",
    "worker": "Serve scripts: execute runs that are due, queued, or were left by a process that died.",
    "workers": "List the workers that live, and what they serve.",
    "deeds": "List what people have had done: runs cancelled, letters dropped, breakers reset.",
    "doctor": "Look over this installation and the state file.",
    "new": "Write a short, runnable workflow to a new file: a checkpoint, recovery, an alert, and places to fill in.",
    "ui": "Look at runs, dead letters and services in a browser.",
    "completion": "Print what lets a shell complete commands and options: perdure completion bash, zsh or fish.",
    "mcp": "Serve agents over standard input and output, by the Model Context Protocol; looks only, unless told.",
    "demo": (
        "Charge 200 orders through an API that misbehaves, kill it half way, run it again, and prove what happened."
    ),
}
"""Each is a function of the same name in a module of the same name."""

GROUPS = {
    "dlq": "Dead letters: look at them, edit, re-drive, drop, export.",
    "schedule": "See what runs when and what became of each tick; pause, trigger, backfill, skip.",
    "breaker": "Look at circuit breakers; close or isolate one.",
    "queue": "Look at queues of runs; pause one, or cancel what waits in it.",
    "alert": "Prove that alerts arrive; see what waits; send it.",
    "skill": "Install the skill that tells coding agents how to write durable scripts, or read it.",
}
"""Each is the app of a module of the same name, with commands of its own."""

app = App(
    name="perdure",
    help="Makes a plain Python script durable: every step it finishes is saved.",
    version_flags=["--version"],
    result_action="return_value",
)
for _name, _purpose in FUNCTIONS.items():
    _own_help: dict[str, list[str]] = {"help_flags": []} if _name == "run" else {}  # `run` prints a page of its own
    app.command(f"perdure.cli.commands.{_name}:{_name}", name=_name, help=_purpose, **_own_help)
for _name, _purpose in GROUPS.items():
    app.command(f"perdure.cli.commands.{_name}:app", name=_name, help=_purpose)
