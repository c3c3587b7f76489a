"""Settings: from the environment and the command line, bad ones refused by name before anything starts."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from telegrad.contract.errors import ArgumentValueError
from telegrad.contract.limits import Limits
from telegrad_service.__main__ import main
from telegrad_service.settings import SETTINGS, Settings, load, unknown_variables

README = Path(__file__).resolve().parents[2] / "service" / "README.md"


def test_without_anything_said_the_defaults_hold():
    assert load({}, {}) == Settings()
    assert Settings().host == "127.0.0.1"


def test_every_limit_is_a_setting_and_every_setting_says_what_it_means():
    assert {f.name for f in fields(Limits)} < set(SETTINGS)
    assert all(s.meaning for s in SETTINGS.values())


def test_the_environment_is_read_and_options_win():
    environment = {"TELEGRAD_PORT": "9000", "TELEGRAD_MAX_TENSORS": "7", "TELEGRAD_IDLE_SECONDS": "2.5", "PATH": "x"}

    settings = load({"port": "9001", "log_level": None}, environment)

    assert (settings.port, settings.limits.max_tensors, settings.limits.idle_seconds) == (9001, 7, 2.5)


@pytest.mark.parametrize(
    ("variable", "text", "wanted"),
    [
        ("TELEGRAD_PORT", "70000", "from 0 to 65,535"),
        ("TELEGRAD_PORT", "http", "a whole number"),
        ("TELEGRAD_PORT", "", "a whole number"),
        ("TELEGRAD_PORT", "٣", "a whole number"),
        ("TELEGRAD_WORKERS", "2", "from 1 to 1"),
        ("TELEGRAD_LOG_LEVEL", "loud", "one of critical"),
        ("TELEGRAD_ALLOW_REMOTE", "maybe", "true or false"),
        ("TELEGRAD_MAX_BODY_BYTES", "1e9", "a whole number"),
        ("TELEGRAD_MAX_BODY_BYTES", "-1", "a whole number"),
        ("TELEGRAD_MAX_TENSORS", "0", "from 1"),
        ("TELEGRAD_IDLE_SECONDS", "nan", "positive number of seconds"),
        ("TELEGRAD_IDLE_SECONDS", "inf", "positive number of seconds"),
        ("TELEGRAD_DRAIN_SECONDS", "0", "positive number of seconds"),
        ("TELEGRAD_MAX_JSON_DEPTH", "100000", "from 8 to 500"),
        ("TELEGRAD_HOST", " ", "an address"),
    ],
)
def test_a_bad_value_is_refused_by_name(variable, text, wanted):
    with pytest.raises(ArgumentValueError, match=f"{variable} must be .*{wanted}"):
        load({}, {variable: text})


def test_all_bad_values_are_named_at_once():
    with pytest.raises(ArgumentValueError, match=r"--port .*TELEGRAD_MAX_NODES"):
        load({"port": "x"}, {"TELEGRAD_MAX_NODES": "x"})


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "example.org", "::"])
def test_other_addresses_than_loopback_must_be_meant(host):
    with pytest.raises(ArgumentValueError, match="insecure-bind"):
        load({"host": host}, {})

    assert load({"host": host}, {"TELEGRAD_ALLOW_REMOTE": "true"}).host == host


def test_what_is_said_of_tokens_without_their_key_is_refused():
    for name, text in {"jwt_issuer": "https://id.test", "jwt_audience": "us", "jwt_algorithm": "RS256"}.items():
        with pytest.raises(ArgumentValueError, match=f"{SETTINGS[name].variable} .*means nothing without TELEGRAD_JWT_KEY_FILE"):
            load({name: text}, {})
        assert getattr(load({name: text, "jwt_key_file": "key.pem"}, {}), name) == text
    assert load({"jwt_algorithm": "EdDSA", "jwt_issuer": ""}, {}) == Settings()


def test_settings_do_not_change():
    with pytest.raises(FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


def test_a_misspelt_variable_is_found():
    assert unknown_variables({"TELEGRAD_MAX_TENSOR": "1", "TELEGRAD_PORT": "1", "OTHER": "1"}) == ["TELEGRAD_MAX_TENSOR"]


def test_help_lists_every_setting_with_its_variable(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--help"])

    told = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    for setting in SETTINGS.values():
        assert setting.option in told
        assert f"[{setting.variable};" in told
    assert "--insecure-bind" in told


def test_bad_settings_end_the_start_with_2(capsys, monkeypatch):
    monkeypatch.setenv("TELEGRAD_MAX_TENSORS", "many")

    assert main(["serve", "--port", "x"]) == 2

    told = capsys.readouterr().err
    assert "--port must be" in told
    assert "TELEGRAD_MAX_TENSORS must be" in told


def test_an_unknown_option_is_refused():
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--max-tensor", "1"])  # no abbreviations: a later option must not change what it means

    assert ended.value.code == 2


def test_the_readme_has_every_setting_with_its_default():
    rows = dict(re.findall(r"^\| `(TELEGRAD_\w+)` \| ([^|]*) \|", README.read_text(encoding="utf-8"), re.MULTILINE))

    assert {variable: default.strip() for variable, default in rows.items()} == {
        s.variable: str(s.default).lower() if isinstance(s.default, bool) else str(s.default) for s in SETTINGS.values()
    }


def test_the_journals_address_may_stand_in_a_file_and_is_shown_nowhere(tmp_path):
    secret = tmp_path / "journal"
    secret.write_text("postgresql://me:geheim@db/telegrad\n")

    settings = load({}, {"TELEGRAD_JOURNAL_FILE": str(secret)})

    assert settings.journal == "postgresql://me:geheim@db/telegrad"
    assert "geheim" not in repr(settings)


@pytest.mark.parametrize(
    ("content", "environment", "reason"),
    [
        (None, {}, "cannot be read"),
        (b"", {}, "is empty"),
        (b"\xff\xfe", {}, "no text"),
        (b"mysql://geheim", {}, "must begin with"),
        (b"postgresql://me:geheim@db/x\0", {}, "printable"),
        (b"postgresql://me:geheim@db/x\nmore", {}, "printable"),
        (b"postgresql://me:geheim@db/x", {"TELEGRAD_JOURNAL": "sqlite:////tmp"}, "two journals"),
    ],
)
def test_a_file_that_has_no_address_is_refused_without_repeating_it(tmp_path, content, environment, reason):
    secret = tmp_path / "journal"
    if content is not None:
        secret.write_bytes(content)

    with pytest.raises(ArgumentValueError, match=r"TELEGRAD_JOURNAL_FILE \(--journal-file\)") as refused:
        load({}, {"TELEGRAD_JOURNAL_FILE": str(secret), **environment})

    assert reason in refused.value.detail
    assert "geheim" not in refused.value.detail
