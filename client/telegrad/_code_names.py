"""What the code of a function names: globals, attributes, modules, and whether it makes names up as it runs."""

from __future__ import annotations

import dis
import types
from functools import lru_cache
from typing import Final, NamedTuple

DYNAMIC: Final = frozenset({"getattr", "setattr", "vars", "dir", "__dict__", "asdict", "astuple", "attrgetter", "methodcaller"})
"""What looks at attributes whose names no code says."""
_GLOBALS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"})
_SILENT: Final = frozenset({"CACHE", "EXTENDED_ARG", "NOP", "PUSH_NULL", "RESUME"})
_SIMPLE: Final = ("LOAD_", "FORMAT_", "CONVERT_VALUE", "BUILD_STRING")
_ATTRIBUTES: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR", "LOAD_SUPER_ATTR", "IMPORT_FROM"})


class Names(NamedTuple):
    """What a function's code names, functions defined in it included.

    Attributes:
        globals_: in order.
        attributes: of whatever it has.
        imports: modules, each with its level.
        own: whether it looks at its first argument by names that are made as it runs, as in ``vars(self)``.
    """

    globals_: tuple[str, ...]
    attributes: frozenset[str]
    imports: frozenset[tuple[str, int]]
    own: bool


@lru_cache(maxsize=4096)
def names_of(code: types.CodeType) -> Names:
    """See ``Names``. Kept, because each trace asks anew."""
    globals_: dict[str, None] = {}
    attributes: set[str] = set()
    imports: set[tuple[str, int]] = set()
    own = False
    codes = [code]
    for one in codes:
        codes.extend([c for c in one.co_consts if isinstance(c, types.CodeType)])
    listing = [(one, i) for one in codes for i in dis.get_instructions(one) if i.opname not in _SILENT]
    first = code.co_varnames[0] if code.co_argcount else None
    if any(
        i.opname.startswith("STORE_") and first in (i.argval if isinstance(i.argval, tuple) else (i.argval,)) for _, i in listing
    ):
        first = None

    def puts_first(position: int) -> tuple[bool, bool]:
        """Whether the first argument is put on the stack there, as the first and as the last of what is."""
        one, i = listing[position]
        names = i.argval if isinstance(i.argval, tuple) else (i.argval,)
        loads = first is not None and i.opname.startswith("LOAD_FAST" if one is code else "LOAD_DEREF")
        return loads and names[0] == first, loads and names[-1] == first

    def is_given_first(position: int) -> bool:
        """Whether a call of what is named there, as ``getattr(self, name)``, is given the first argument, and simple others."""
        if not puts_first(position + 1)[0]:
            return False
        following = (i.opname for _, i in listing[position + 2 :])
        return next((x for x in following if not x.startswith(_SIMPLE) or x in _ATTRIBUTES), "").startswith(("PRECALL", "CALL"))

    for position, (_, instruction) in enumerate(listing):
        name = instruction.argval
        if instruction.opname in _GLOBALS:
            globals_[name] = None
            if name in DYNAMIC and is_given_first(position):
                own = True
            elif name in DYNAMIC:
                attributes.add(name)
        elif instruction.opname in _ATTRIBUTES:
            if name == "__dict__" and puts_first(position - 1)[1]:
                own = True
            else:
                attributes.add(name)
        elif instruction.opname == "IMPORT_NAME":  # after its level and what is taken from the module
            imports.add((name, listing[position - 2][1].argval))
        elif instruction.opname == "MATCH_CLASS":  # case Point(x=0), after the names; case Point(0) has them in the class
            attributes.update(listing[position - 1][1].argval, ["__dict__"] if instruction.arg else [])
    if "globals" in globals_:  # globals()["rate"]
        globals_ |= {x: None for x in code.co_consts if isinstance(x, str)}
    return Names(tuple(globals_), frozenset(attributes), frozenset(imports), own)
