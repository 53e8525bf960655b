"""Who may import whom: the contracts of pyproject.toml hold, and cover every module there is."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
# Read by all and importing nothing of ours.
EVERYWHERE = {"app.settings", "app.logs"}


def test_imports_run_one_way() -> None:
    """import-linter finds nothing against the layers, the pure core, the store's door and arq's."""
    lint_imports = Path(sys.executable).parent / "lint-imports"

    found = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert found.returncode == 0, found.stdout + found.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in found.stdout


def test_every_module_has_its_layer() -> None:
    """A new module in app/ takes its place in the layers, or no contract would look at it."""
    (layers,) = (contract["layers"] for contract in CONTRACTS if contract["type"] == "layers")
    placed = {name.strip(" ()") for layer in layers for name in layer.replace(":", "|").split("|")}
    modules = {f"app.{path.stem}" for path in (ROOT / "app").iterdir() if path.suffix == ".py" or path.is_dir()}

    assert modules - {"app.__init__", "app.__pycache__"} - EVERYWHERE == placed
