"""The npm packages that Slipway is compared with: their versions, and a folder outside of the repository for them."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

# graphql 17 wants Node 22; with 16 the same files run on Node 20 too, as in tests/api/test_protocols.py.
PACKAGES = ("graphql@16.15.0", "graphql-ws@6.4.2", "graphql-yoga@5.24.1", "ws@8.23.0")

SCRIPTS = Path(__file__).parent / "node"
SCHEMA = Path(__file__).parent.parent / "schema.graphql"
_INSTALL_SECONDS = 300


def node_command(script: str, *arguments: str) -> list[str]:
    """The command that runs a script of `node/`."""
    return [_program("node"), str(SCRIPTS / script), *arguments]


def node_environment() -> dict[str, str]:
    """What the scripts are told. Installs the packages when they are not there yet; ends the program if it cannot."""
    return {"BENCHMARK_NODE_PACKAGES": str(_installed()), "BENCHMARK_SCHEMA": str(SCHEMA), "NODE_ENV": "production"}


def node_versions() -> str:
    """What is compared with, for the environment that is printed."""
    version = subprocess.run([_program("node"), "--version"], capture_output=True, text=True, check=True)
    return f"{version.stdout.strip()}, {', '.join(PACKAGES)}"


def _installed() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway-benchmarks"
    folder = cache / f"node-{hashlib.sha256(' '.join(PACKAGES).encode()).hexdigest()[:12]}"
    done = folder / "installed"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    print(f"installing {', '.join(PACKAGES)} in {folder}", file=sys.stderr, flush=True)
    (folder / "package.json").write_text('{"private": true}', encoding="utf-8")
    install = [_program("npm"), "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund"]
    run = subprocess.run(
        [*install, "--ignore-scripts", *PACKAGES], cwd=folder, capture_output=True, text=True, timeout=_INSTALL_SECONDS
    )
    if run.returncode:
        sys.exit(f"THIS BENCHMARK NEEDS PACKAGES OF npm, which could not be installed:\n{run.stderr.strip()[-500:]}")
    done.touch()
    return folder


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        sys.exit(f"THIS BENCHMARK NEEDS {name}: install Node 20 or newer (https://nodejs.org).")
    return found
