"""Steps that take away the file that they work on."""

from __future__ import annotations

import ast

from perdure.check.reach import Place
from perdure.check.rules.shapes import matches, source

_LOOKS = r"exists\(|is_file\(|FileNotFoundError|OSError|suppress\(|missing_ok|glob\(|iterdir\(|listdir\(|scandir\("
"""A step that looks what is there, and so finds its work done."""

_MOVES = frozenset({"os.replace", "os.rename", "os.renames", "shutil.move"})
_OF_PATHS = frozenset({"rename", "replace"})
_PATHS = frozenset({"pathlib.Path", "pathlib.PosixPath", "os.fspath", "builtins.str", "os.path.join"})
"""Calls that give another form of a path, and make no file."""

_READS = frozenset({"open", "read_text", "read_bytes", "stat"})
_NAMES = frozenset(
    {"with_suffix", "with_name", "with_stem", "joinpath", "resolve", "absolute", "relative_to", "as_posix"}
)
_SAYS = frozenset({"builtins.print", "builtins.len", "builtins.repr"})
_PROGRAMS = ("perdure.sh", "perdure.aio.sh", "subprocess.", "os.system", "asyncio.create_subprocess")
"""Which files a program makes is not seen."""

_DEEP = 5


def moved_input(place: Place) -> None:
    """A file that is moved away, and that the step has not made: made again, the step does not find it."""
    if place.function is not place.owner or matches(_LOOKS, source(place.module, place.function.node)):
        return
    if any(isinstance(value, str) and value.startswith(_PROGRAMS) for _, value in place.calls):
        return
    for node, value in place.calls:
        moved = _moved(place, node, value)
        if moved is not None and _given(place, moved, _DEEP) and not _made(place, node, moved):
            text = f"{place.who} moves {ast.unparse(moved)}, and does not find it when the process dies before the save"
            place.found("moved-input", node, text)


def _moved(place: Place, node: ast.Call, value: object) -> ast.expr | None:
    """The file that a call moves, if it moves one."""
    if value in _MOVES and len(node.args) == 2:
        return node.args[0]
    function = node.func
    if (
        not isinstance(function, ast.Attribute)
        or function.attr not in _OF_PATHS
        or len(node.args) != 1
        or node.keywords
    ):
        return None
    return function.value if _is_path(place, function.value, _DEEP) else None


def _is_path(place: Place, node: ast.AST, depth: int) -> bool:
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Div)
    if isinstance(node, ast.Call):
        return place.text(node.func) == "pathlib.Path"
    if not isinstance(node, ast.Name) or not depth:
        return False
    for binding in place.facts.names.get(node.id, ()):
        found = binding.node
        if isinstance(found, ast.arg):
            return found.annotation is not None and place.text(found.annotation) == "pathlib.Path"
        if binding.how == "value" and _is_path(place, found, depth - 1):
            return True
    return False


def _given(place: Place, node: ast.AST, depth: int) -> bool:
    """Whether a path is made of arguments, constants and variables of the module alone."""
    if any(place.text(call.func) not in _PATHS for call in ast.walk(node) if isinstance(call, ast.Call)):
        return False
    for one in ast.walk(node):
        if not isinstance(one, ast.Name):
            continue
        for binding in place.facts.names.get(one.id, ()):
            if isinstance(binding.node, ast.arg):
                continue
            if binding.how != "value" or not depth or not _given(place, binding.node, depth - 1):
                return False
    return True


def _made(place: Place, move: ast.Call, moved: ast.expr) -> bool:
    """Whether the step may have made the file itself: something else gets it that does not only read or name it."""
    if isinstance(moved, ast.Constant):  # these stand in no lists of nodes
        others = (call for call, _ in place.calls if call is not move)
        return any(_is(each, moved) and not _reads(_name(call), call) for call in others for each in ast.walk(call))
    shown = ast.unparse(moved)
    nodes = place.facts.of(type(moved))
    return any(_makes(place, each, move) for each in nodes if isinstance(each, ast.expr) and ast.unparse(each) == shown)


def _makes(place: Place, node: ast.AST, move: ast.Call) -> bool:
    parent = place.facts.parents.get(node)
    if isinstance(parent, ast.Attribute):
        call = place.facts.parents.get(parent)
        called = isinstance(call, ast.Call) and call.func is parent
        return called and call is not move and parent.attr not in _NAMES and not _reads(parent.attr, call)  # type: ignore[arg-type]
    while parent is not None and not isinstance(parent, ast.stmt):
        if isinstance(parent, ast.Call) and parent is not move and place.text(parent.func) not in _PATHS:
            return not (place.text(parent.func) in _SAYS or _reads(place.text(parent.func).rpartition(".")[2], parent))
        if parent is move:
            return False
        parent = place.facts.parents.get(parent)
    return False


def _is(node: ast.AST, constant: ast.Constant) -> bool:
    return isinstance(node, ast.Constant) and node.value == constant.value


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _reads(name: str, call: ast.Call) -> bool:
    modes = [one.value for one in [*call.args, *(key.value for key in call.keywords)] if isinstance(one, ast.Constant)]
    return name in _READS and not any(isinstance(mode, str) and mode[:1] in "wax" for mode in modes)
