"""The error tree: stable codes, statuses, builtins, and the way over the wire and back."""

from __future__ import annotations

import builtins
import inspect
import json
import re
from http import HTTPStatus

import pytest

from telegrad.contract import errors
from telegrad.contract.errors import PROBLEM_TYPE_PREFIX, InternalError, RequestError, TelegradError, all_errors, from_problem

CLASSES = list(all_errors())


def test_every_class_is_found_once() -> None:
    defined = {c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, TelegradError)}

    assert set(CLASSES) >= defined
    assert len(set(CLASSES)) == len(CLASSES)


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in CLASSES]

    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_has_code_status_title_and_docstring(cls: type[TelegradError]) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cls.code)
    assert HTTPStatus(cls.status) >= HTTPStatus.BAD_REQUEST
    assert cls.title[0].isupper()
    assert (inspect.getdoc(cls) or "").splitlines()[0].endswith(".")
    assert "__doc__" in vars(cls)


@pytest.mark.parametrize("cls", CLASSES)
def test_problem_round_trips(cls: type[TelegradError]) -> None:
    original = cls("cannot do it: [2] and [3]", extra={"predicted": 3, "permitted": 2})

    body = json.loads(json.dumps({**original.problem(), "instance": "/v1/sessions/s1"}))
    restored = from_problem(body, request_id="r-7")

    assert type(restored) is cls
    assert str(restored) == str(original)
    assert restored.extra == original.extra
    assert restored.request_id == "r-7"
    assert body["type"] == PROBLEM_TYPE_PREFIX + cls.code
    assert body["status"] == cls.status


def test_unknown_problem_becomes_its_status_family() -> None:
    assert type(from_problem({"type": "urn:telegrad:problem:from-the-future", "status": 422})) is RequestError
    assert type(from_problem({"type": "about:blank", "status": 502, "title": "Bad gateway"})) is InternalError
    assert str(from_problem({})) == "the server sent no detail"


def drawn_tree() -> dict[str, tuple[str, set[str]]]:
    """Parent and the drawn builtins of each class in the picture at the top of the module."""
    found: dict[str, tuple[str, set[str]]] = {}
    parents: list[str] = []
    for line in (inspect.getdoc(errors) or "").splitlines():
        match = re.match(r"^(?P<lead>[ │├└─]*)(?P<name>\w+Error)\b(?:\s+\((?P<builtins>[\w, ]+)\))?", line)
        if match is None:
            continue
        depth = len(match["lead"]) // 4
        del parents[depth:]
        found[match["name"]] = (
            parents[-1] if parents else "Exception",
            {b.strip() for b in (match["builtins"] or "").split(",") if b.strip()},
        )
        parents.append(match["name"])
    return found


def test_the_tree_in_the_docstring_is_the_real_tree() -> None:
    real = {}
    for cls in CLASSES:
        if cls.__module__ == errors.__name__:
            ours = [b.__name__ for b in cls.__bases__ if issubclass(b, TelegradError)]
            plain = {b.__name__ for b in cls.__bases__ if not issubclass(b, TelegradError) and b is not Exception}
            real[cls.__name__] = (ours[0] if ours else "Exception", plain)

    assert drawn_tree() == real


@pytest.mark.parametrize("cls", CLASSES)
def test_builtins_can_be_caught(cls: type[TelegradError]) -> None:
    for builtin in drawn_tree().get(cls.__name__, ("", set()))[1]:
        assert issubclass(cls, getattr(builtins, builtin))
