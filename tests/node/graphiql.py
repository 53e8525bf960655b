"""`slipway graphiql` as a child process, and the folder that it fills from npm."""

import os
import subprocess
import sys
from pathlib import Path

from tests.node.programs import not_run, program

SLIPWAY = Path(sys.executable).parent / "slipway"
NOT_FETCHED = "GRAPHIQL IS NOT FETCHED"


def run_graphiql(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it on a folder, with more variables."""
    env = os.environ | {"SLIPWAY_GRAPHIQL_DIR": str(folder)} | environment
    return subprocess.run([SLIPWAY, "graphiql"], env=env, capture_output=True, text=True, timeout=300, check=False)


def fetch_graphiql(folder: Path) -> str:
    """Fill a folder; what is said. Without npm, or a network, nothing is shown of it."""
    program("npm", NOT_FETCHED)
    done = run_graphiql(folder)
    if done.returncode:
        not_run(NOT_FETCHED, done.stderr.strip())
    return done.stdout.strip()
