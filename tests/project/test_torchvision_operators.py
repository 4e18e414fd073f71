"""The declarations that let `import torchvision` succeed beside a foreign torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HOOK_AS_INSTALLED = """
import sys
# The environment may have installed its own copy: only the one of the project is tested.
sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "TorchvisionHook"]
sys.path.insert(0, {scripts!r})
import torchvision_operators as hook
"""


def run(root: Path, code: str) -> str:
    prologue = HOOK_AS_INSTALLED.format(scripts=str(root / "scripts"))
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", prologue + code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def test_torchvision_and_a_processor_import(root: Path) -> None:
    """With the hook torchvision imports, and so does a video processor that needs it."""
    said = run(
        root,
        "import torchvision, transformers\nprint(transformers.Qwen2VLVideoProcessor.__name__)",
    )
    assert said == "Qwen2VLVideoProcessor"


def test_nothing_heavy_is_imported_early(root: Path) -> None:
    """Neither installing the hook nor asking whether torchvision exists imports torch."""
    code = "import importlib.util as u\nu.find_spec('torchvision')\nprint('torch' in sys.modules)"
    assert run(root, code) == "False"


def test_other_imports_pass_by(root: Path) -> None:
    """The hook answers for one name only."""
    code = "print([hook.TorchvisionHook().find_spec(n) for n in ('torch', 'torchvision.ops', 'x')])"
    assert run(root, code) == "[None, None, None]"


def test_installed_once(root: Path) -> None:
    """Importing the file twice leaves one hook."""
    code = (
        "import importlib\nimportlib.reload(hook)\n"
        "print(sum(type(f).__name__ == 'TorchvisionHook' for f in sys.meta_path))"
    )
    assert run(root, code) == "1"


def test_harmless_where_the_operators_load(root: Path) -> None:
    """Where torchvision's library loads nothing is declared: a second declaration would fail."""
    code = (
        "import torch\n"
        "hook.operators_load = lambda folders: True\n"
        "hook.declare_missing_operators([])\n"
        "print(hasattr(hook.TorchvisionHook, 'library'))"
    )
    assert run(root, code) == "False"
