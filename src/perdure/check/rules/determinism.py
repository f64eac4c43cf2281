"""A resumed run has to go the same way: clock, chance, order of sets, environment, files, globals in workflow code."""

from __future__ import annotations

import ast

from perdure.check import origins
from perdure.check.flow import Flow
from perdure.check.names import Names
from perdure.check.origins import Taint
from perdure.check.project import Function, Module, all_parameters
from perdure.check.reach import Place, Report
from perdure.check.rules.globals import changed_globals
from perdure.core.redaction.names import words

_READS = words(
    "builtins.open io.open os.listdir os.scandir os.walk os.stat os.path.exists os.path.isfile os.path.isdir"
    " os.path.getsize"
    " os.path.getmtime glob.glob glob.iglob os.remove os.unlink os.rename os.replace os.makedirs os.mkdir os.rmdir"
    " shutil.copy shutil.copyfile shutil.move shutil.rmtree shutil.copytree pandas.read_csv pandas.read_excel"
    " pandas.read_parquet pandas.read_json numpy.load fileinput.input shutil.which json.load"
)
_PATH_METHODS = words(
    "read_text read_bytes write_text write_bytes open exists is_file is_dir iterdir glob rglob stat unlink mkdir rename"
    " replace touch rmdir samefile"
)
_PATH = ("pathlib.Path()", "pathlib.Path.cwd()", "pathlib.Path.home()")


def trace(owner: Function, names: Names, report: Report) -> None:
    """What differs the next time, and reaches the inputs of steps or decides which are called."""

    def arrives(kind: str, node: ast.AST, module: Module, taint: Taint, callee: Function | None) -> None:
        step = f"{callee.kind} '{callee.name}'" if callee is not None else "a step"
        if kind == "order":
            report("unordered-calls", node, module, f"{step} is called in the order of a set: {origins.texts(taint)}")
            return
        certain = frozenset(one for one in taint if one.label != "environment")
        said = origins.texts(certain or taint)
        if kind == "input":
            code = "nondeterministic-input" if certain else "environment-in-workflow"
            report(code, node, module, f"{step} is given {said}, which a resumed run gives another value")
        else:
            code = "nondeterministic-branch" if certain else "environment-in-workflow"
            report(code, node, module, f"{said} decides whether {step} is called, and decides otherwise on resume")

    Flow(names, arrives).run(owner)


def identities(module: Module, functions: list[Function], names: Names, report: Report) -> None:
    """Workflows that are called with the time or a random value, anywhere but in workflows."""

    def arrives(_kind: str, node: ast.AST, where: Module, taint: Taint, callee: Function | None) -> None:
        name = callee.name if callee is not None else ""
        report(
            "new-identity",
            node,
            where,
            f"workflow '{name}' is called with {origins.texts(taint)}: each call is a run of its own, and resumes none",
        )

    Flow(names, arrives, identities=True).run_module(module)
    for function in functions:
        Flow(names, arrives, identities=True).run(function)


def changing_defaults(owner: Function, names: Names, report: Report) -> None:
    """A default of a workflow that is the time or a random value."""
    if owner.node is None or isinstance(owner.node, ast.Lambda):
        return
    flow = Flow(names, lambda *_: None, identities=True)
    for default in (*owner.node.args.defaults, *owner.node.args.kw_defaults):
        if default is not None:
            taint = origins.identifying(flow.default(owner.module, default))
            if taint:
                text = (
                    f"workflow '{owner.name}' has a default of {origins.texts(taint)}: each process starts another run"
                )
                report("new-identity", default, owner.module, text)


def files(place: Place) -> None:
    """Workflow code that reads or writes files."""
    for node, value in place.calls:
        if not isinstance(value, str):
            continue
        path = value.rpartition(".")
        if value in _READS or (path[2] in _PATH_METHODS and _is_path(path[0])):
            name = value.removeprefix("builtins.").replace("pathlib.", "")
            place.found("file-in-workflow", node, f"{place.who} calls {name}() outside of a step")


def _is_path(base: str) -> bool:
    return base.startswith(_PATH) and not base.endswith("()[]")


def changed_variables(place: Place) -> None:
    """Workflow code that changes a variable of its module, or reads one that plain code changes."""
    for name, node in changed_globals(place).items():
        text = f"{place.who} changes the module's variable '{name}', and changes it again when it is resumed"
        place.found("global-in-workflow", node, text)


def read_variables(places: list[Place], changed_elsewhere: dict[tuple[Module, str], str]) -> None:
    """Workflow code that reads a variable of its module which functions outside of steps and workflows change."""
    for place in places:
        own = {arg.arg for arg in all_parameters(place.function)}
        said: set[str] = set()
        for node in place.facts.of(ast.Name):
            where = changed_elsewhere.get((place.module, node.id))
            if where is None or node.id in said or node.id in own or not isinstance(node.ctx, ast.Load):
                continue
            if node.id in place.facts.names and node.id not in place.facts.outer:
                continue
            said.add(node.id)
            text = (
                f"{place.who} reads the module's variable '{node.id}', which '{where}' changes while the program runs"
            )
            place.found("global-in-workflow", node, text)
