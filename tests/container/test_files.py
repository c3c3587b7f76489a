"""What the container's files say fits what the service understands; that they work is for ``check.sh``."""

from __future__ import annotations

import re
from pathlib import Path

from telegrad_service import settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "service" / "Dockerfile").read_text(encoding="utf-8")
WITH_POSTGRES = (ROOT / "docker-compose.postgres.yml").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def test_every_setting_in_the_files_is_one_the_service_takes():
    in_image = dict(re.findall(r"\b(TELEGRAD_[A-Z_]+)=(\S+)", DOCKERFILE))
    in_compose = dict(re.findall(r"^\s+(TELEGRAD_[A-Z_]+): (\S+)$", COMPOSE, re.MULTILINE))
    environment = in_image | in_compose

    loaded = settings.load(environment=environment)

    assert in_image
    assert in_compose
    assert settings.unknown_variables(environment) == []
    assert loaded.host == "0.0.0.0"


def test_a_journal_in_the_other_compose_file_is_one_the_service_takes_and_holds_no_password():
    (url,) = re.findall(r"TELEGRAD_JOURNAL: \"(\S+)\"", WITH_POSTGRES)
    (connections,) = re.findall(r"max_connections=(\d+)", WITH_POSTGRES)
    (sessions,) = re.findall(r"TELEGRAD_MAX_SESSIONS: (\d+)", COMPOSE)

    assert settings.load(environment={"TELEGRAD_JOURNAL": url}).journal == url
    assert "postgres" in re.findall(r"-r (\w+)", DOCKERFILE)
    assert int(connections) > int(sessions)
    assert "telegrad:${TELEGRAD_POSTGRES_PASSWORD:?}@" in url


def test_one_sessions_limits_fit_the_containers_memory():
    environment = dict(re.findall(r"^\s+(TELEGRAD_[A-Z_]+): (\S+)$", COMPOSE, re.MULTILINE))
    memory = re.search(r"mem_limit: (\d+)g", COMPOSE)

    limits = settings.load(environment=environment).limits

    assert memory
    assert limits.max_session_bytes + limits.max_answer_bytes + limits.max_body_bytes < int(memory[1]) * 2**30


def test_the_grace_for_stopping_is_longer_than_the_service_drains():
    grace = re.search(r"stop_grace_period: (\d+)s", COMPOSE)

    assert grace
    assert settings.Settings().drain_seconds < int(grace[1])
