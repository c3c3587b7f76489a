"""The command line: ``telegrad serve`` and ``telegrad keys``, also as ``python -m telegrad_service serve``."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import re
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from telegrad._version import __version__
from telegrad.contract.errors import ArgumentValueError, TelegradError
from telegrad_service.access.keys import QUOTA_NAMES, Key, KeyStore
from telegrad_service.access.principal import SCOPES
from telegrad_service.settings import SETTINGS, Setting, load, of_environment

_NEEDED = ("fastapi", "uvicorn", "httptools")

_SERVE = """\
Serve telegrad over HTTP until interrupted (SIGINT, SIGTERM). Every option below can also be set by the environment variable
that its line names; options win. Unless keys are asked for (--keys-file), the service listens on loopback only."""
_KEYS = """\
Make, list and revoke the API keys of a service. They stand in the file that `telegrad serve --keys-file` names, as hashes: a key
itself is shown once, when it is made."""
_QUOTA = f"""\
Show the quotas that a tenant has of its own, and change those that are named; the others are as the settings of the server say. The
names: {", ".join(QUOTA_NAMES)}."""
_DAY_SECONDS = 86400.0
_LAST_SECONDS = 253_402_300_799.0  # of the year 9999


def _help(setting: Setting) -> str:
    default = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
    return f"{setting.meaning} [{setting.variable}; default {default}]".replace("%", "%%")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="telegrad", description="Autograd over a wire.")
    parser.add_argument("--version", action="version", version=f"telegrad {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="start the service", description=_SERVE, allow_abbrev=False)
    for setting in SETTINGS.values():
        if isinstance(setting.default, bool):
            # A switch may stand alone, or be told true or false.
            names = [setting.option, "--insecure-bind"] if setting.name == "allow_remote" else [setting.option]
            serve.add_argument(*names, dest=setting.name, nargs="?", const="true", metavar="BOOL", help=_help(setting))
        else:
            serve.add_argument(
                setting.option, dest=setting.name, metavar=type(setting.default).__name__.upper(), help=_help(setting)
            )
    keys = commands.add_parser("keys", help="make, list and revoke API keys", description=_KEYS)
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a key and print it, once", allow_abbrev=False)
    create.add_argument("--tenant", required=True, help="whose sessions it opens")
    create.add_argument("--scopes", default="read,write", help=f"some of {','.join(SCOPES)}, joined by commas; default read,write")
    create.add_argument("--expires-days", type=float, metavar="DAYS", help="after so many days it opens nothing; never otherwise")
    create.add_argument("--note", default="", help="kept beside it, for whoever lists the keys")
    revoke = actions.add_parser("revoke", help="make a key useless at once", allow_abbrev=False)
    revoke.add_argument("id", help="the key's id, as `telegrad keys list` shows it")
    listing = actions.add_parser("list", help="show all keys, but for the keys themselves", allow_abbrev=False)
    quota = actions.add_parser("quota", help="show or change what a tenant may have", description=_QUOTA, allow_abbrev=False)
    quota.add_argument("--tenant", required=True, help="whose quotas")
    quota.add_argument("changes", nargs="*", metavar="NAME=NUMBER", help="0 bounds nothing; NAME= takes it back to the setting")
    for action in (create, revoke, listing, quota):
        action.add_argument(
            "--keys-file", default=None, metavar="FILE", help=f"the file of keys [{SETTINGS['keys_file'].variable}]"
        )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 after a stop by signal, 1 where it cannot start, 2 for wrong settings."""
    given = vars(_parser().parse_args(arguments))
    if given.pop("command") == "keys":
        return _keys(given)
    missing = [name for name in _NEEDED if not _is_installed(name)]
    if missing:
        print(f"telegrad serve needs {', '.join(missing)}: pip install 'telegrad[service]'", file=sys.stderr)
        return 1
    try:
        settings = load(given)
    except ArgumentValueError as error:
        print(f"telegrad serve: {error.detail}", file=sys.stderr)
        return 2
    from telegrad_service.api.server import run

    return run(settings)


def _keys(given: dict[str, Any]) -> int:
    """Make, list or revoke keys."""
    file = given["keys_file"] or of_environment("keys_file")
    if not file:
        print("telegrad keys: name the file: --keys-file FILE, or TELEGRAD_KEYS_FILE", file=sys.stderr)
        return 2
    try:
        changes = _changes(given.get("changes", ()))
        store = KeyStore(Path(file), create=given["action"] == "create")
        with contextlib.closing(store):
            if given["action"] == "create":
                days = given["expires_days"]
                expires = None if days is None else days * _DAY_SECONDS
                key, text = store.create(given["tenant"], given["scopes"].split(","), expires_seconds=expires, note=given["note"])
                print(f"key {key.id} for tenant {key.tenant}; it is shown this once:", file=sys.stderr)
                print(text)
            elif given["action"] == "revoke":
                store.revoke(given["id"])
                print(f"key {given['id']} is revoked", file=sys.stderr)
            elif given["action"] == "quota":
                own = store.set_quotas(given["tenant"], changes) if changes else store.quotas(given["tenant"])
                for name in QUOTA_NAMES:
                    print(f"{name} {own.get(name, 'as the server says')}")
            else:
                _print_keys(store.list())
    except TelegradError as error:
        print(f"telegrad keys: {error.detail}", file=sys.stderr)
        return 1
    except sqlite3.Error as error:
        print(f"telegrad keys: the key file at {file} cannot be used: {error}", file=sys.stderr)
        return 1
    return 0


def _changes(words: Sequence[str]) -> dict[str, int | None]:
    """``NAME=NUMBER`` and ``NAME=`` as numbers and None. Raises ArgumentValueError."""
    changes: dict[str, int | None] = {}
    for word in words:
        name, equals, number = word.partition("=")
        if not equals or not (number == "" or re.fullmatch("[0-9]{1,19}", number)):
            raise ArgumentValueError(f"a change is NAME=NUMBER, or NAME= to take it back; the names are {', '.join(QUOTA_NAMES)}")
        changes[name] = int(number) if number else None
    return changes


def _print_keys(keys: Sequence[Key]) -> None:
    now = time.time()
    print(f"{'id':12s}  {'tenant':20s}  {'scopes':16s}  {'made':10s}  {'state':20s}  note")
    for key in keys:
        if key.revoked is not None:
            state = f"revoked {_date(key.revoked)}"
        elif key.expires is not None:
            state = f"{'until' if key.is_valid(now) else 'expired'} {_date(key.expires)}"
        else:
            state = "valid"
        print(f"{key.id:12s}  {key.tenant:20s}  {','.join(sorted(key.scopes)):16s}  {_date(key.created)}  {state:20s}  {key.note}")


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(min(seconds, _LAST_SECONDS)))


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
