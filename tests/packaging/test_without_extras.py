"""What a plain `pip install telegrad` can do: everything local. What it cannot, it says."""

from __future__ import annotations

import subprocess
import sys

# Hides what only extras bring, as if it were not installed.
WITHOUT_EXTRAS = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""
EXTRAS = {
    "fastapi",
    "httptools",
    "matplotlib",
    "safetensors",
    "scipy",
    "sklearn",
    "starlette",
    "torch",
    "uvicorn",
    "uvloop",
}

LOCAL_SCRIPT = """
import telegrad
x = telegrad.tensor([1.0, 2.0], requires_grad=True)
(x * x).sum().backward()
print(x.grad.tolist())
"""

NEEDS_SCIPY_SCRIPT = """
import telegrad
x = telegrad.tensor([1.5], requires_grad=True)
try:
    telegrad.lgamma(x)
except telegrad.TelegradError as refused:
    print(type(refused).__name__, isinstance(refused, ImportError), refused.status, refused.extra, refused)
(x * telegrad.erf(x)).sum().backward()
print(x.grad is not None, "scipy" in sys.modules)
"""

SERVE_SCRIPT = """
from telegrad_service.__main__ import main
sys.argv = ["telegrad", "serve"]
sys.exit(main())
"""


def run_without_extras(script: str, names: set[str] = EXTRAS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", WITHOUT_EXTRAS.format(names=names) + script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_local_mode_needs_no_extra():
    finished = run_without_extras(LOCAL_SCRIPT)

    assert finished.stdout == "[2.0, 4.0]\n", finished.stderr


def test_a_hidden_module_really_cannot_be_imported():
    finished = run_without_extras("import httpx2", names={"httpx2"})

    assert finished.returncode == 1
    assert "No module named 'httpx2'" in finished.stderr


def test_serving_without_the_service_extra_names_it():
    finished = run_without_extras(SERVE_SCRIPT)

    assert finished.returncode not in {0, None}
    assert "telegrad[service]" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_an_op_that_needs_a_library_names_it_and_the_session_goes_on():
    finished = run_without_extras(NEEDS_SCIPY_SCRIPT)

    refusal, after = finished.stdout.splitlines() or ["", finished.stderr]
    assert refusal.startswith("LibraryMissingError True 501 {'library': 'scipy'} lgamma() "), finished.stderr
    assert "pip install 'telegrad[scipy]'" in refusal
    assert after == "True False"
