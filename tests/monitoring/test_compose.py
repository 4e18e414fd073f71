"""compose.yaml and what it mounts, as far as they can be held to account without Docker."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def compose(root: Path) -> dict[str, Any]:
    content = yaml.safe_load((root / "compose.yaml").read_text())
    assert isinstance(content, dict)
    return content


def mounts(compose: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Service, source and target of every mount; a default of a variable is its source."""
    found = []
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            plain = re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", volume)
            source, target, *_ = plain.split(":")
            found.append((name, source, target))
    return found


def test_what_is_mounted_exists(root: Path, compose: dict[str, Any]) -> None:
    """Paths of the project that are there, read-only; everything else is a declared volume."""
    for name, source, _ in mounts(compose):
        if source.startswith("./"):
            assert (root / source).exists(), f"{name}: {source}"
        else:
            assert source in compose["volumes"], f"{name}: {source}"
    lines = [v for s in compose["services"].values() for v in s.get("volumes", [])]
    assert all(line.endswith(":ro") for line in lines if line.startswith(("./", "${")))


def test_nothing_is_reachable_from_elsewhere(compose: dict[str, Any]) -> None:
    """Every published port is on the loopback address; the rest has none."""
    ports = [port for s in compose["services"].values() for port in s.get("ports", [])]
    assert len(ports) == 4
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)


def test_nobody_logs_in_to_grafana(compose: dict[str, Any]) -> None:
    """Its first administrator has a password that all know: neither form nor API takes it."""
    environment = compose["services"]["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert environment["GF_AUTH_BASIC_ENABLED"] == "false"


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    """A version each, or built from here."""
    for name, service in compose["services"].items():
        if name == "reward":
            assert service["build"]["context"] == "."
            assert service["build"]["target"] == "${TARGET:-cpu}"
        else:
            assert re.search(r":v?\d+\.\d+\.\d+", service["image"]), name


def test_the_service_asks_for_a_key(compose: dict[str, Any]) -> None:
    """In its container it listens on all addresses: compose refuses to start it without one."""
    assert ":?" in compose["services"]["reward"]["environment"]["MMREWARD_API_KEYS"]


def test_prometheus_and_alertmanager_take_their_files(
    root: Path, promtool: Any, tool: Any, tmp_path: Path
) -> None:
    """promtool and amtool read what is mounted, rules included."""
    import subprocess

    answer = promtool("check", "config", root / "monitoring" / "prometheus.yml")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "2 rule files found" in answer.stdout + answer.stderr
    command = [str(tool("amtool")), "check-config", str(root / "monitoring" / "alertmanager.yml")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def test_the_targets_are_services_of_the_file(monitoring: Path, compose: dict[str, Any]) -> None:
    """Who is scraped, and who gets the alerts, has the name of a service."""
    config = yaml.safe_load((monitoring / "prometheus.yml").read_text())
    parts = [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]
    hosts = {
        target.split(":")[0]
        for part in parts
        for static in part["static_configs"]
        for target in static["targets"]
    }
    assert hosts - {"127.0.0.1"} <= set(compose["services"])


def test_grafana_finds_source_and_boards(monitoring: Path, compose: dict[str, Any]) -> None:
    """The boards are mounted where the provider looks, and the interval is that of the scrapes."""
    folder = monitoring / "grafana" / "provisioning"
    source = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())
    provider = yaml.safe_load((folder / "dashboards" / "mmreward.yml").read_text())
    scrapes = yaml.safe_load((monitoring / "prometheus.yml").read_text())["global"]
    assert source["datasources"][0]["jsonData"]["timeInterval"] == scrapes["scrape_interval"]
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    path = provider["providers"][0]["options"]["path"]
    assert ("grafana", "./monitoring/dashboards", path) in mounts(compose)
    assert len(list((monitoring / "dashboards").glob("*.json"))) == 3
    for board in (monitoring / "dashboards").glob("*.json"):
        assert json.loads(board.read_text())["uid"] == board.stem
