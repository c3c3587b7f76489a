"""The command line: ``telegrad serve``, also as ``python -m telegrad_service serve``."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence

from telegrad._version import __version__
from telegrad.contract.errors import ArgumentValueError
from telegrad_service.settings import SETTINGS, Setting, load

_NEEDED = ("fastapi", "uvicorn", "httptools")

_SERVE = """\
Serve telegrad over HTTP until interrupted (SIGINT, SIGTERM). Every option below can also be set by the environment variable
that its line names; options win. Without keys, which arrive in a later version, the service listens on loopback only."""


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
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 after a stop by signal, 1 where it cannot start, 2 for wrong settings."""
    given = vars(_parser().parse_args(arguments))
    given.pop("command")
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


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
