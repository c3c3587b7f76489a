#!/bin/sh
# Checks the compose project of this repository, which must be up and healthy: that the service does its work over the published
# port and for a client in a container, that it has no more rights than it needs, that it comes back after SIGKILL, and that it
# stops when asked. From the repository's root:
#
#   docker compose up --detach --wait && sh tests/container/check.sh
#
# COMPOSE is the compose command, PYTHON an interpreter with telegrad[examples].
set -eu
COMPOSE=${COMPOSE:-docker compose}
PYTHON=${PYTHON:-.venv/bin/python}
HEALTHY_WITHIN_SECONDS=60

say() { printf 'container: %s\n' "$*"; }
fail() {
    printf 'container: FAILED: %s\n' "$*" >&2
    exit 1
}
# A command in the service's container, without a terminal.
inside() { $COMPOSE exec -T service "$@"; }
state() { docker inspect --format "$1" "$container"; }
wait_until_healthy() {
    waited=0
    until [ "$(state '{{.State.Status}} {{.State.Health.Status}}')" = 'running healthy' ]; do
        waited=$((waited + 1))
        [ "$waited" -le "$HEALTHY_WITHIN_SECONDS" ] || fail "not healthy within $HEALTHY_WITHIN_SECONDS s: $(state '{{json .State}}')"
        sleep 1
    done
}
published_url() { echo "http://$($COMPOSE port service 8000)"; }
# The example needs its extra and the port; without an interpreter that has both, the smoke client alone must do.
train_from_here() {
    if [ -x "$PYTHON" ] && "$PYTHON" -c 'import matplotlib, sklearn, telegrad, tqdm' 2>/dev/null; then
        "$PYTHON" examples/digits.py --url "$(published_url)" --plot "$scratch/digits.png" "$@"
    else
        say "no $PYTHON with telegrad[examples] here: not trained over the published port"
    fi
}

container=$($COMPOSE ps --quiet service)
[ -n "$container" ] || fail 'the service is not up'
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

say 'only this machine reaches the port'
case $($COMPOSE port service 8000) in
    127.0.0.1:*) ;;
    *) fail "published on $($COMPOSE port service 8000)" ;;
esac

say 'the process has a user of its own, no capabilities and no way to new ones'
[ "$(inside id -u)" = 10001 ] || fail "runs as user $(inside id -u)"
status=$(inside cat /proc/1/status)
echo "$status" | grep -q '^CapEff:[[:space:]]*0*$' || fail 'has capabilities'
echo "$status" | grep -q '^CapBnd:[[:space:]]*0*$' || fail 'may gain capabilities'
echo "$status" | grep -q '^NoNewPrivs:[[:space:]]*1$' || fail 'may gain privileges'

say 'only the volume and /tmp can be written'
for folder in / /opt/telegrad /etc /usr/local; do
    ! inside touch "$folder/written" 2>/dev/null || fail "wrote into $folder"
done
inside touch /tmp/written || fail 'cannot write into /tmp'
inside touch /var/lib/telegrad/kept-by-check || fail 'cannot write into the volume'

say 'the image has no build tools, no pip and no caches'
for tool in cc gcc g++ make pip pip3 git curl; do
    ! inside sh -c "command -v $tool" >/dev/null || fail "the image has $tool"
done
! inside python -c 'import pip' 2>/dev/null || fail 'pip can be imported'
# As root, who may look everywhere.
left=$($COMPOSE exec -T --user 0 service sh -c 'ls -d /root/.cache /source /wheels /requirements /var/lib/apt/lists/*_Packages 2>/dev/null || true')
[ -z "$left" ] || fail "left in the image: $left"

say "the image takes $(($(docker image inspect --format '{{.Size}}' "$(state '{{.Image}}')") / 1000000)) MB, the base included"

say 'its memory, processors and processes are limited'
case " $(state '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}') " in
    *' 0 '* | *nil*) fail 'one of the limits is missing' ;;
esac

say "training over the published port, $(published_url)"
train_from_here

say 'training from a client in a container'
$COMPOSE --profile smoke build --quiet smoke || fail 'the smoke client cannot be built'
$COMPOSE --profile smoke run --rm -T smoke || fail 'the smoke client failed'

say 'the process is killed with SIGKILL'
restarts=$(state '{{.RestartCount}}')
# Process 1 is the init that hands signals on; the service is its child.
service=$(inside python -c '
import pathlib
for folder in pathlib.Path("/proc").iterdir():
    try:
        words = (folder / "cmdline").read_bytes() if folder.name.isdigit() and folder.name != "1" else b""
    except OSError:  # a health check that has just ended
        continue
    if b"\0serve\0" in words:
        print(folder.name)
        break
else:
    raise SystemExit("no process of the service found")
') || fail 'its process cannot be found'
# The container ends with the service and takes along what runs inside, so that the status of this command may be the kill's own.
# Whether it took effect is told by the restart that is awaited next.
inside sh -c "kill -KILL $service" || true
waited=0
until [ "$(state '{{.RestartCount}}')" -gt "$restarts" ]; do
    waited=$((waited + 1))
    [ "$waited" -le "$HEALTHY_WITHIN_SECONDS" ] || fail 'it was not started again'
    sleep 1
done
wait_until_healthy
say "healthy again after $(state '{{.RestartCount}}') restart; the volume is still there"
inside rm /var/lib/telegrad/kept-by-check || fail 'what was kept is gone'
train_from_here --epochs 2 --accuracy 0.85

say 'it stops when asked, by itself'
$COMPOSE stop service
code=$(state '{{.State.ExitCode}}')
case $code in
    0 | 143) ;;
    *) fail "exit status $code on SIGTERM (137: it had to be killed)" ;;
esac
$COMPOSE start service
wait_until_healthy

say 'passed'
