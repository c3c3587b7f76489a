"""What an operator may set: environment variables and command-line options, read once into frozen settings.

Every setting is one field below; its environment variable is ``TELEGRAD_`` and the name in capitals, its option ``--`` and the name
with dashes. Units stand in the names. The fields of ``Limits`` and ``Quotas`` are settings of the same kind.
"""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, NamedTuple

from telegrad.contract.errors import ArgumentValueError
from telegrad.contract.limits import Limits, Quotas

PREFIX: Final = "TELEGRAD_"
LOG_LEVELS: Final = ("critical", "error", "warning", "info", "debug")
JWT_ALGORITHMS: Final = ("HS256", "RS256", "ES256", "EdDSA")
ISOLATIONS: Final = ("process", "inline")
DURABILITIES: Final = ("none", "step", "every")
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Settings:
    """How the service runs.

    Attributes:
        host: address to listen on. Other addresses than loopback need allow_remote.
        port: TCP port to listen on; 0 takes a free one.
        allow_remote: whether to listen on addresses that others can reach although no keys are asked for: whoever reaches the port
            may use every session.
        keys_file: SQLite file of API keys, made by `telegrad keys create`; empty asks for no keys.
        jwt_key_file: secret or public key (PEM) of the issuer whose JSON Web Tokens are accepted; empty accepts none.
        jwt_algorithm: the one algorithm of these tokens: HS256, RS256, ES256 or EdDSA.
        jwt_issuer: what their claim `iss` must be; empty asks for none.
        jwt_audience: what their claim `aud` must be; empty asks for none.
        public_docs: whether the OpenAPI document and the op catalogue are open to all although keys are asked for.
        public_metrics: whether the metrics are open to all although keys are asked for; a key needs the scope admin for them.
        log_level: critical, error, warning, info or debug.
        log_format: text, or json for one JSON object a line.
        access_log: whether to log a line for each request: its id, route, status, time, bytes, session and tenant.
        tracing: whether each request is a trace of OpenTelemetry, or part of its caller's: where traces go says the process's own
            set-up, `opentelemetry-instrument telegrad serve`, say.
        workers: server processes that accept connections. Sessions belong to the one that made them, so there is exactly one.
        isolation: process gives each session a process of its own, which cannot slow, crash or read another's; inline keeps all
            sessions in the server's process.
        request_seconds: a request, or one of the runs of a program, that takes longer is given up and its session's process ended;
            with isolation inline there is no such bound.
        compute_threads: threads that compute with isolation inline; a session uses one at a time.
        max_waiting_requests: requests that may wait for their session's turn before further ones are refused with 503.
        durability: which changes are on the disk before they are answered. step: what a batch, backward, grad, a run or a read
            gives or shows; every: all; none: nothing, sessions end with the server.
        data_dir: folder that sessions are kept in, each with its journal; empty keeps them in memory alone. `telegrad serve` takes
            a folder of its own for each port below $XDG_STATE_HOME/telegrad where nothing is said.
        journal: database that sessions are kept in, in place of data_dir: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or
            sqlite:///FOLDER, which is what data_dir says. A command line is seen by others; the environment variable is not.
        journal_file: file with the address that journal would have, such as a secret that is mounted; only one of the two is set.
        snapshot_seconds: work since the last snapshot after which there is a new one; about the time that bringing a session back
            takes.
        idempotency_seconds: how long answers are kept under their Idempotency-Key.
        retention_seconds: sessions that nobody used for so long are deleted, if they are kept at all; those that nobody used for
            idle_seconds leave memory before.
        drain_seconds: how long a stopping server waits for requests that it has begun.
        head_seconds: a request whose head takes longer to arrive is refused with 408.
        keep_alive_seconds: a connection without a request for so long is closed.
        stall_seconds: a body that arrives, or an answer that is taken, more slowly than stall_bytes_per_second for so long is given
            up: a body with 408, an answer by hanging up.
        stall_bytes_per_second: see stall_seconds.
        cors_origins: web origins whose pages may use the service, such as https://example.org, joined by commas; empty: none but
            pages of the same origin.
        tune_process: whether to raise the garbage collector's threshold and to have glibc keep freed memory; local sessions heed
            the environment variable too.
        limits: of a session and of the requests to it.
        quotas: of a tenant, where its keys have none of their own.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    allow_remote: bool = False
    keys_file: str = ""
    jwt_key_file: str = ""
    jwt_algorithm: str = "EdDSA"
    jwt_issuer: str = ""
    jwt_audience: str = ""
    public_docs: bool = False
    public_metrics: bool = False
    log_level: str = "info"
    log_format: str = "text"
    access_log: bool = False
    tracing: bool = False
    workers: int = 1
    isolation: str = "process"
    request_seconds: float = 300.0
    compute_threads: int = 32
    max_waiting_requests: int = 1000
    durability: str = "step"
    data_dir: str = ""
    journal: str = field(default="", repr=False)  # it may hold a password
    journal_file: str = ""
    snapshot_seconds: float = 5.0
    idempotency_seconds: float = 86_400.0
    retention_seconds: float = 2_592_000.0
    drain_seconds: float = 10.0
    head_seconds: float = 20.0
    keep_alive_seconds: float = 75.0
    stall_seconds: float = 30.0
    stall_bytes_per_second: int = 1000
    cors_origins: str = ""
    tune_process: bool = True
    limits: Limits = field(default_factory=Limits)
    quotas: Quotas = field(default_factory=Quotas)

    @property
    def asks_for_keys(self) -> bool:
        """Whether only holders of keys or tokens may use the service."""
        return bool(self.keys_file or self.jwt_key_file)

    @property
    def is_for_this_machine(self) -> bool:
        """Whether nobody is asked for a key because nobody else can reach the port."""
        return not self.asks_for_keys and not self.allow_remote

    @property
    def origins(self) -> list[str]:
        """The web origins whose pages may use the service."""
        return self.cors_origins.split(",") if self.cors_origins else []


class Setting(NamedTuple):
    """One thing to set: name, default, what it means, and how its text is read (raises ArgumentValueError)."""

    name: str
    default: Any
    meaning: str
    parse: Callable[[str], Any]

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()

    @property
    def option(self) -> str:
        """The command-line option."""
        return "--" + self.name.replace("_", "-")


def _meanings(cls: type) -> dict[str, str]:
    """What the class's docstring says of each attribute."""
    text = (inspect.getdoc(cls) or "").partition("Attributes:")[2]  # Pythons differ in the indentation that they keep
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in found}


def _boolean(text: str) -> bool:
    choices = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in choices:
        raise ArgumentValueError("must be true or false")
    return choices[text.lower()]


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,19}", text) or not low <= int(text) <= high:
            raise ArgumentValueError(f"must be a whole number from {low:,} to {high:,}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not math.isfinite(float(text)) or float(text) <= 0:
        raise ArgumentValueError("must be a positive number of seconds")
    return float(text)


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ArgumentValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def _address(text: str) -> str:
    if not text or text != text.strip():
        raise ArgumentValueError("must be an address or a host name")
    return text


def _origins(text: str) -> str:
    if any(not re.fullmatch(r"https?://[a-z0-9.:\[\]-]+", origin) for origin in text.split(",") if text):
        raise ArgumentValueError(
            "must be origins joined by commas, such as https://example.org or http://localhost:3000: a scheme, a host in lower "
            "case, a port where it is not the scheme's own, and nothing else"
        )
    return text


def _journal(text: str) -> str:
    if text and not text.startswith(("postgresql://", "postgres://", "sqlite:///")):
        raise ArgumentValueError("must begin with postgresql:// or sqlite:///")
    if not text.isprintable():
        raise ArgumentValueError("must be one line of printable characters")
    return text


def _journal_in(values: Mapping[str, Any]) -> str:
    """The address in the journal's file. Raises ArgumentValueError, without a word of what stands there."""
    if values.get("journal"):
        raise ArgumentValueError("and TELEGRAD_JOURNAL (--journal) name two journals: set one of them")
    try:
        text = Path(values["journal_file"]).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ArgumentValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ArgumentValueError("has bytes that are no text") from None
    if not text:
        raise ArgumentValueError("is empty")
    return _journal(text)


_PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "host": _address,
    "port": _whole(0, 65535),
    "log_level": _one_of(*LOG_LEVELS),
    "log_format": _one_of("text", "json"),
    "isolation": _one_of(*ISOLATIONS),
    "durability": _one_of(*DURABILITIES),
    "journal": _journal,
    "jwt_algorithm": _one_of(*JWT_ALGORITHMS),
    "workers": _whole(1, 1),
    "cors_origins": _origins,
    "compute_threads": _whole(1, 1024),
    **{f.name: _whole(0, 2**53) for f in fields(Quotas)},
    "rate_window_seconds": _whole(1, 86_400),
    "max_json_depth": _whole(8, 500),  # Python's own parser recurses: 500 levels are safe
}
_BY_TYPE: Final[dict[type, Callable[[str], Any]]] = {bool: _boolean, int: _whole(1, 2**62), float: _seconds, str: str}


def _settings_of(cls: type[Any]) -> list[Setting]:
    meanings = _meanings(cls)
    defaults = cls()
    return [
        Setting(f.name, value, meanings[f.name], _PARSERS.get(f.name) or _BY_TYPE[type(value)])
        for f in fields(cls)
        if not isinstance(value := getattr(defaults, f.name), (Limits, Quotas))
    ]


SETTINGS: Final[dict[str, Setting]] = {s.name: s for s in [*_settings_of(Settings), *_settings_of(Limits), *_settings_of(Quotas)]}
"""Every setting by name, those of ``Limits`` and ``Quotas`` included."""

_OF_TOKENS: Final = ("jwt_algorithm", "jwt_issuer", "jwt_audience")
_LIMIT_NAMES: Final = frozenset(f.name for f in fields(Limits))
_QUOTA_NAMES: Final = frozenset(f.name for f in fields(Quotas))


def load(options: Mapping[str, str | None] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment, overridden by command-line options (by setting name; None is not given).

    Raises:
        ArgumentValueError: naming each variable or option that does not fit, and what it must be.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for setting in SETTINGS.values():
        source, text = setting.option, (options or {}).get(setting.name)
        if text is None:
            source, text = setting.variable, environment.get(setting.variable)
        if text is None:
            continue
        try:
            values[setting.name] = setting.parse(text)
        except ArgumentValueError as error:
            wrong.append(f"{source} {error.detail}")
    if values.get("journal_file"):
        try:
            values["journal"] = _journal_in(values)
        except ArgumentValueError as error:
            wrong.append(f"{SETTINGS['journal_file'].variable} ({SETTINGS['journal_file'].option}) {error.detail}")
    if not values.get("jwt_key_file"):
        wrong += [
            f"{SETTINGS[name].variable} ({SETTINGS[name].option}) means nothing without TELEGRAD_JWT_KEY_FILE (--jwt-key-file)"
            for name in _OF_TOKENS
            if values.get(name, SETTINGS[name].default) != SETTINGS[name].default
        ]
    limits = Limits(**{n: values.pop(n) for n in list(values) if n in _LIMIT_NAMES})
    quotas = Quotas(**{n: values.pop(n) for n in list(values) if n in _QUOTA_NAMES})
    settings = Settings(**values, limits=limits, quotas=quotas)
    if settings.host not in LOOPBACK and not settings.allow_remote and not settings.asks_for_keys:
        wrong.append(
            f"{SETTINGS['host'].variable} (--host) is not a loopback address, and no keys are asked for: whoever reaches the port "
            "may use every session. Make a key (`telegrad keys create`) and set TELEGRAD_KEYS_FILE (--keys-file); or, where nobody "
            "else can reach the port, add --insecure-bind or TELEGRAD_ALLOW_REMOTE=true"
        )
    if wrong:
        raise ArgumentValueError("; ".join(wrong))
    return settings


def of_environment(name: str, environment: Mapping[str, str] | None = None) -> Any:
    """The one setting ``name`` as the environment says, or its default; raises ArgumentValueError if it does not fit."""
    setting = SETTINGS[name]
    text = (os.environ if environment is None else environment).get(setting.variable)
    try:
        return setting.default if text is None else setting.parse(text)
    except ArgumentValueError as error:
        raise ArgumentValueError(f"{setting.variable} {error.detail}") from None


def unknown_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """Variables that begin like a setting of ours and are none: most likely misspelt."""
    environment = os.environ if environment is None else environment
    known = {s.variable for s in SETTINGS.values()}
    return sorted(n for n in environment if n.startswith(PREFIX) and n not in known)
