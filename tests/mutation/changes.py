"""What a mutant changes, read from a module in which mutmut has written every function with all its mutants."""

import ast
import difflib
import functools


@functools.cache
def texts_of(source: str) -> dict[str, str]:
    """Every function's text by its name, the name taken out."""
    lines = source.splitlines()
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    return {node.name: "\n".join(lines[node.lineno - 1 : node.end_lineno]).replace(node.name, "") for node in nodes}


def sides_of(name: str, source: str) -> tuple[str, str]:
    """The function's text as it is and as the mutant has it."""
    texts, own = texts_of(source), name.rsplit(".", 1)[1]
    return texts[own.rsplit("__mutmut", 1)[0] + "__mutmut_orig"], texts[own]


def change_of(name: str, source: str) -> list[str]:
    """The lines before and after, each with its sign."""
    before, after = sides_of(name, source)
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [f"{line[0]} {line[1:].strip()}" for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]
