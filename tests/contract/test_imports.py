"""Who may import whom: trainer -> service -> client, and heavy libraries only where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "mmreward_client": ROOT / "client" / "mmreward_client",
    "mmreward_service": ROOT / "service" / "mmreward_service",
    "mmreward_trainer": ROOT / "trainer" / "mmreward_trainer",
}


def imports(file: Path) -> set[str]:
    """Every module that a file imports anywhere, inside functions as well, as dotted names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(node.module or "")
    return names


def files(package: str, *, below: str = "", but: tuple[str, ...] = ()) -> list[Path]:
    folder = PACKAGES[package] / below
    skipped = [PACKAGES[package] / one for one in but]
    return [
        file
        for file in sorted(folder.rglob("*.py"))
        if not any(file.is_relative_to(one) for one in skipped)
    ]


def offenders(where: list[Path], forbidden: set[str]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}: {name}"
        for file in where
        for name in sorted(imports(file))
        if any(name == one or name.startswith(one + ".") for one in forbidden)
    ]


def test_packages_import_in_one_direction() -> None:
    """The client knows neither of the others, the service does not know the trainer."""
    assert not offenders(files("mmreward_client"), {"mmreward_service", "mmreward_trainer"})
    assert not offenders(files("mmreward_service"), {"mmreward_trainer"})


def test_vllm_is_imported_in_one_place() -> None:
    """All that touches vLLM sits in engine/vllm."""
    everywhere = files("mmreward_service", but=("engine/vllm",))
    assert not offenders(
        everywhere + files("mmreward_client") + files("mmreward_trainer"), {"vllm"}
    )


def test_the_reward_core_knows_neither_http_nor_engine() -> None:
    """What training shares with serving can be used without the service."""
    forbidden = {"fastapi", "starlette", "uvicorn", "vllm", "mmreward_service.engine"}
    assert not offenders(files("mmreward_service", below="reward"), forbidden)


def test_http_does_not_import_torch() -> None:
    """Outside of engine and reward core, the service handles bytes, pictures and numbers."""
    forbidden = {"torch", "transformers", "safetensors"}
    # --check-parity computes scores with transformers, in a module of its own.
    skipped = ("engine/vllm", "reward", "check/parity.py")
    assert not offenders(files("mmreward_service", but=skipped), forbidden)


def test_the_environment_is_read_in_settings_alone() -> None:
    """os.environ appears in settings, and where vLLM's own switches are set."""
    readers = [
        str(file.relative_to(PACKAGES["mmreward_service"]))
        for file in files("mmreward_service", but=("engine/vllm",))
        if "environ" in file.read_text(encoding="utf-8").replace("environment", "")
    ]
    assert readers == ["settings.py"]


def test_unknown_exceptions_are_caught_in_one_place() -> None:
    """`except Exception` stands in errors.boundary and in the engine's own boundary."""
    catchers = [
        str(file.relative_to(PACKAGES["mmreward_service"]))
        for file in files("mmreward_service", but=("engine/vllm",))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
    ]
    assert catchers == ["errors.py"]


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("mmreward_client", "torch vllm fastapi PIL transformers numpy typer rich"),
        ("mmreward_client.testing", "torch vllm fastapi PIL transformers numpy typer rich pyarrow"),
        (
            "mmreward_client.adapters.verl_score",
            "torch vllm fastapi PIL transformers numpy typer rich pyarrow verl",
        ),
        (
            "mmreward_client.adapters.openrlhf_reward",
            "torch vllm fastapi PIL transformers numpy typer rich pyarrow openrlhf",
        ),
        ("mmreward_service.app", "torch vllm transformers mmreward_trainer"),
        ("mmreward_service.reward.spec", "torch vllm fastapi transformers"),
        ("mmreward_service.reward.prompt", "torch vllm fastapi transformers"),
        ("mmreward_service.check.command", "torch vllm fastapi transformers numpy rich"),
        ("mmreward_service.engine.vllm.plugin", "vllm fastapi mmreward_trainer"),
        ("mmreward_service.engine.vllm.engine", "vllm fastapi mmreward_trainer"),
    ],
)
def test_importing_a_module_loads_nothing_it_does_not_need(module: str, heavy: str) -> None:
    """Measured in a fresh interpreter, so that what others import counts as well."""
    code = (
        f"import sys, {module}; loaded = set({heavy.split()!r}) & set(sys.modules); "
        "assert not loaded, loaded"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
