"""What the project says of itself, held against what is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from mmreward_service.settings import Settings

TEXTS = {".md", ".py", ".toml", ".yml", ".yaml", ".json", ".sh", ""}
MAX_MODULE_LINES = 400


def section(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def folders_in_tree(root: Path) -> dict[str, str]:
    block = section((root / "README.md").read_text(), "The tree").split("```")[1]
    lines = [line for line in block.splitlines()[1:] if line.strip()]
    return {line.split()[0].rstrip("/"): " ".join(line.split()[1:]) for line in lines}


def test_the_tree_names_every_folder_of_code(root: Path, tracked: list[Path]) -> None:
    """Every folder with a tracked Python file or Markdown page is a line of README's tree."""
    with_code = {
        str(path.parent) for path in tracked if path.suffix in {".py", ".md"} and path.parent.name
    }
    assert with_code - set(folders_in_tree(root)) == set()


def test_the_tree_names_nothing_that_is_not_there(root: Path) -> None:
    """Every line of README's tree is a folder and says what it is for."""
    tree = folders_in_tree(root)
    assert [name for name in tree if not (root / name).is_dir()] == []
    assert [name for name, purpose in tree.items() if not purpose] == []


def test_links_lead_somewhere(root: Path, tracked: list[Path]) -> None:
    """Every relative link of every Markdown page is a file of the project."""
    broken = []
    for page in (path for path in tracked if path.suffix == ".md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", (root / page).read_text()):
            if re.match(r"[a-z]+:|#", target):
                continue
            if not (root / page.parent / target.split("#")[0]).exists():
                broken.append(f"{page}: {target}")
    assert broken == []


def test_python_examples_compile(root: Path) -> None:
    """Every Python block of the README is Python."""
    blocks = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        ast.parse(block)


def test_metrics_table_is_the_metrics(root: Path) -> None:
    """The table of docs/metrics.md and the registry name the same metrics, types and labels."""
    from mmreward_service.metrics import Metrics

    told = {
        (cells[0].strip("`"), cells[1], cells[2])
        for cells in rows(section((root / "docs" / "metrics.md").read_text(), "The service"))
    }
    metrics = Metrics(admission_limit=1)
    there = {
        (
            family.name + ("_total" if family.type == "counter" else ""),
            family.type,
            ", ".join(getattr(collector, "_labelnames", ())),
        )
        for collector in list(metrics.registry._collector_to_names)
        for family in collector.describe()
    }
    assert told == there


def test_settings_page_is_the_settings(root: Path) -> None:
    """docs/settings.md names every setting, no other, and the plain defaults as they are."""
    text = (root / "docs" / "settings.md").read_text()
    told = {cells[0].strip("`"): cells[1].strip("`") for cells in rows(text)}
    fields = dict(Settings.model_fields)
    assert set(told) == set(fields)
    for name, field in fields.items():
        if isinstance(field.default, int | float | str) and not isinstance(field.default, bool):
            default = field.default
            number = isinstance(default, int | float)
            assert (float(told[name]) if number else told[name]) == default, name


def rows(text: str) -> list[list[str]]:
    """Cells of every body row of the tables of a text."""
    lines = [line.strip() for line in text.splitlines() if line.lstrip().startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = {number - 1 for number, row in enumerate(cells) if set("".join(row)) <= {"-"}}
    bodies = [row for number, row in enumerate(cells) if number not in heads]
    return [row for row in bodies if not set("".join(row)) <= {"-"}]


def test_no_file_names_a_path_of_one_machine(root: Path, tracked: list[Path]) -> None:
    """Nothing in the project knows where it was developed."""
    forbidden = ["/" + "work/", "/" + "tmp/", "/" + "root/", "/" + "home/"]
    allowed = {"/" + "home/reward"}
    found = []
    for path in tracked:
        if path.suffix not in TEXTS or (root / path).stat().st_size > 2_000_000:
            continue
        text = (root / path).read_text(errors="ignore")
        for word in allowed:
            text = text.replace(word, "")
        found += [f"{path}: {word}" for word in forbidden if word in text]
    assert found == []


def test_modules_are_small(root: Path, tracked: list[Path]) -> None:
    """A module holds one idea: 400 lines at most. Lists of sentences are data, and may be long."""
    sizes = {
        str(path): len((root / path).read_text().splitlines())
        for path in tracked
        if path.suffix == ".py" and not path.name.startswith("frames_")
    }
    assert {name: size for name, size in sizes.items() if size > MAX_MODULE_LINES} == {}


@pytest.mark.parametrize("package", ["client", "service", "trainer"])
def test_modules_say_what_they_do(root: Path, tracked: list[Path], package: str) -> None:
    """Every module of the three packages has a docstring, and none has a shapeless name."""
    modules = [path for path in tracked if path.parts[0] == package and path.suffix == ".py"]
    assert modules
    silent = [str(m) for m in modules if not ast.get_docstring(ast.parse((root / m).read_text()))]
    assert silent == []
    shapeless = {"utils.py", "helpers.py", "common.py", "base.py"}
    assert [str(m) for m in modules if m.name in shapeless] == []
