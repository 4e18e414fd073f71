"""The dashboards without a server: structure, units, names, and the syntax of every question."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from boards import BOARDS
from generate import generated, outdated

MAX_PANELS = 25
VARIABLES = {
    "job": ".*",
    "instance": ".*",
    "model": ".*",
    "trainer": ".*",
    "__rate_interval": "1m",
}
BOARD_UIDS = [board.uid for board in BOARDS]


@pytest.fixture(params=BOARD_UIDS)
def board(request: pytest.FixtureRequest, monitoring: Path) -> dict[str, Any]:
    content = json.loads((monitoring / "dashboards" / f"{request.param}.json").read_text())
    assert isinstance(content, dict)
    return content


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def every_panel(monitoring: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for uid in BOARD_UIDS:
        content = json.loads((monitoring / "dashboards" / f"{uid}.json").read_text())
        for panel in panels(content):
            yield f"{uid}: {panel['title']}", panel


def asked(expression: str) -> str:
    """With Grafana's variables replaced, as Grafana does it."""
    return re.sub(r"\$(\w+)", lambda found: VARIABLES[found[1]], expression)


def units() -> set[str]:
    """Ids of Grafana's units, from Grafana Labs' own library."""
    library = pytest.importorskip("grafana_foundation_sdk.models.units")
    return {value for value in vars(library).values() if isinstance(value, str)}


def test_checked_in_files_are_what_the_code_writes(monitoring: Path, tmp_path: Path) -> None:
    """Nothing was edited by hand, nothing forgotten; and a change is noticed."""
    files = generated()
    assert outdated(monitoring, files) == []
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text + ("\n" if path.endswith("alerts.yml") else ""))
    (tmp_path / "dashboards" / "old.json").touch()
    assert outdated(tmp_path, files) == ["dashboards/old.json", "rules/alerts.yml"]


def test_ids_are_unique_and_panels_few(board: dict[str, Any]) -> None:
    """One id each, and no more panels than a person looks at."""
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert 1 < len(panels(board)) <= MAX_PANELS
    assert len(set(BOARD_UIDS)) == len(BOARD_UIDS)


def test_every_panel_says_what_it_is(board: dict[str, Any]) -> None:
    """A title, one sentence, a unit that Grafana knows, and a question."""
    known = units()
    for panel in panels(board):
        name = panel["title"]
        assert name
        assert re.fullmatch(r"[A-Z][^\n]*[^.]\.", panel["description"]), name
        assert ". " not in panel["description"], f"{name}: more than one sentence"
        assert panel["fieldConfig"]["defaults"]["unit"] in known, name
        assert panel["targets"], name
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert all(target["expr"] for target in panel["targets"]), name


def test_only_the_chosen_data_source(board: dict[str, Any]) -> None:
    """Whoever imports a board chooses where it asks; no panel asks elsewhere."""
    sources = [panel["datasource"] for panel in panels(board)]
    sources += [target["datasource"] for panel in panels(board) for target in panel["targets"]]
    assert {source["uid"] for source in sources} == {"${datasource}"}


def test_nothing_overlaps(board: dict[str, Any]) -> None:
    """Every cell of the 24 columns belongs to one panel at most."""
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert 0 < place["w"] <= 24 - place["x"], panel["title"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_variables_are_declared_and_used(board: dict[str, Any]) -> None:
    """No question holds a variable that is not offered; none is offered that nothing uses."""
    declared = {variable["name"] for variable in board["templating"]["list"]}
    text = json.dumps(board["panels"]) + json.dumps(board["templating"])
    used = set(re.findall(r"\$\{?(\w+)\}?", text)) - {"__rate_interval", "__all"}
    assert used == declared
    assert {"datasource", "job", "model", "instance"} <= declared


def test_rates_follow_the_scrape_interval(board: dict[str, Any]) -> None:
    """A fixed window would be empty beside a slow scrape, or hide what a quick one sees."""
    for panel in panels(board):
        for target in panel["targets"]:
            windows = re.findall(r"\[([^\]]+)\]", target["expr"])
            assert set(windows) <= {"$__rate_interval"}, panel["title"]


def test_shares_are_never_summed(board: dict[str, Any]) -> None:
    """Two processes that report 20 % each are not 40 %, nor is one beside a silent one nothing."""
    for panel in panels(board):
        for target in panel["targets"]:
            summed = re.findall(r"sum(?: by \([\w,]*\))?\((\w+(?::\w+)?)", target["expr"])
            shares = [name for name in summed if name.endswith(("_ratio", "_perc"))]
            assert shares == [], panel["title"]


def test_the_library_reads_the_boards(board: dict[str, Any]) -> None:
    """Grafana Labs' own types take the JSON, and give back as many panels."""
    library = pytest.importorskip("grafana_foundation_sdk.models.dashboard")
    read = library.Dashboard.from_json(board)
    assert read.uid == board["uid"]
    assert len(read.panels) == len(board["panels"])


def test_every_name_is_defined_in_code(monitoring: Path, metric_names: set[str]) -> None:
    """Ours in the service, the client or the rules; vLLM's in the list of the pinned release."""
    wrong = []
    texts = [(path, asked(t["expr"])) for path, p in every_panel(monitoring) for t in p["targets"]]
    for path in sorted((monitoring / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            texts += [(path.name, rule["expr"]) for rule in group["rules"]]
    for where, text in texts:
        bare = re.sub(r'"[^"]*"', "", text)
        names = re.findall(r"\b(?:[a-z_]+:)?(?:mmreward|vllm|process|DCGM)[:_]\w+(?::\w+)?", bare)
        assert names or "up" in bare, text
        wrong += [f"{where}: {name}" for name in names if name not in metric_names]
    assert wrong == []


def test_prometheus_takes_every_question(monitoring: Path, promtool: Any, tmp_path: Path) -> None:
    """Each as a recording rule, so that a syntax error is named with its place."""
    rules = [
        {"record": f"panel:{number}", "expr": asked(target["expr"])}
        for number, target in enumerate(
            target for _, panel in every_panel(monitoring) for target in panel["targets"]
        )
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    answer = promtool("check", "rules", path)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"{len(rules)} rules found" in answer.stdout


def test_an_error_of_syntax_would_be_noticed(promtool: Any, tmp_path: Path) -> None:
    """The check above can fail."""
    path = tmp_path / "panels.yml"
    rule = {"record": "panel:0", "expr": "sum by (le)(rate(up[1m])"}
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": [rule]}]}))
    assert promtool("check", "rules", path).returncode != 0


def test_the_list_of_vllm_is_of_the_installed_release() -> None:
    """The checked-in names are those that the source of that release defines."""
    from vllm_names import defined_names, installed_release, listed

    release, names = listed()
    try:
        there = defined_names()
    except LookupError as error:
        pytest.skip(str(error))
    if installed_release() != release:
        pytest.skip(f"vLLM {installed_release()} is installed, the list is of {release}")
    assert names == there
