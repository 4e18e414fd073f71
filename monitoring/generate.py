"""Write the dashboards and the rules, or check that what is checked in is what would be written.

.venv/bin/python monitoring/generate.py             # after a change of boards/ or alerting/
.venv/bin/python monitoring/generate.py --check     # exit code 1 if a file is not up to date
.venv/bin/python monitoring/generate.py --folder build/rules --runbooks https://wiki.example/rm
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from alerting import rule_files
from alerting.files import RUNBOOKS
from boards import BOARDS

HERE = Path(__file__).resolve().parent


def generated(scale: float = 1.0, runbooks: str = RUNBOOKS) -> dict[str, str]:
    """Text of every generated file, by its path below this folder."""
    boards = {
        f"dashboards/{board.uid}.json": json.dumps(board.render(), indent=2, ensure_ascii=False)
        + "\n"
        for board in BOARDS
    }
    rules = {f"rules/{name}": text for name, text in rule_files(scale, runbooks).items()}
    return boards | rules


def outdated(folder: Path, files: dict[str, str]) -> list[str]:
    """Paths whose file is missing, differs, or is there without being generated."""
    wrong = [
        path
        for path, text in files.items()
        if not (folder / path).is_file() or (folder / path).read_text(encoding="utf-8") != text
    ]
    there = [*folder.glob("dashboards/*"), *folder.glob("rules/*")]
    found = {str(path.relative_to(folder)) for path in there}
    return sorted({*wrong, *(found - set(files))})


def main() -> int:
    parser = argparse.ArgumentParser(description="Write dashboards and rules.")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    parser.add_argument("--folder", type=Path, default=HERE, help="where to; default: here")
    parser.add_argument("--scale", type=float, default=1.0, help="of time in the rules, for tests")
    parser.add_argument("--runbooks", default=RUNBOOKS, help="address of the runbooks")
    options = parser.parse_args()
    if not 0 < options.scale <= 1:
        parser.error(f"--scale is {options.scale}, it must be above 0 and at most 1")
    files = generated(options.scale, options.runbooks)
    if options.check:
        for path in (wrong := outdated(options.folder, files)):
            print(f"not up to date: {path} (run monitoring/generate.py)", file=sys.stderr)
        return 1 if wrong else 0
    for path, text in files.items():
        (options.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (options.folder / path).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
