"""Settings: precedence, refusals, and keys that stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmreward_service.settings import Settings, SettingsRefused, load_settings
from pydantic import ValidationError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("MMREWARD_"):
            monkeypatch.delenv(name)


def test_command_line_beats_environment_beats_file_beats_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the sources that name a setting, the nearest to the user wins."""
    file = tmp_path / "mmreward.toml"
    file.write_text('engine = "fake"\nmax_items = 1\nport = 1\nmax_critiques = 1\n')
    monkeypatch.setenv("MMREWARD_MAX_ITEMS", "2")
    monkeypatch.setenv("MMREWARD_PORT", "2")
    settings = load_settings(file, port=3)
    assert (settings.port, settings.max_items, settings.max_critiques) == (3, 2, 1)
    assert settings.max_images_per_item == 8


def test_the_file_may_be_named_by_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MMREWARD_CONFIG does what --config does."""
    file = tmp_path / "mmreward.toml"
    file.write_text('engine = "fake"\nmax_items = 7\n')
    monkeypatch.setenv("MMREWARD_CONFIG", str(file))
    assert load_settings().max_items == 7


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('engine = "fake"\nmax_item = 1\n', "max_item"),
        ('engine = "fake"\nport = "many"\n', "port"),
        ('engine = "fake"\nmax_items = 0\n', "max_items"),
        ('engine = "other"\n', "engine"),
        ("engine = fake\n", "line 1"),
        ("max_items = 3\n", "checkpoint is required"),
        ('engine = "fake"\ndefault_deadline_s = 9.0\nmax_deadline_s = 8.0\n', "deadline"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, text: str, word: str) -> None:
    """One line says which setting is wrong."""
    file = tmp_path / "mmreward.toml"
    file.write_text(text)
    with pytest.raises(SettingsRefused, match=word):
        load_settings(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that was named but does not exist is no reason to go on with defaults."""
    with pytest.raises(SettingsRefused, match="does not exist"):
        load_settings(tmp_path / "none.toml", engine="fake")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org"])
def test_a_public_host_needs_keys(host: str) -> None:
    """Nobody serves the world by accident: keys, or an explicit allow_no_keys."""
    with pytest.raises(SettingsRefused, match="api_keys"):
        load_settings(engine="fake", host=host)
    assert load_settings(engine="fake", host=host, api_keys="k").host == host
    assert load_settings(engine="fake", host=host, allow_no_keys=True).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_host_needs_none(host: str) -> None:
    """On the machine itself the service works without keys."""
    assert load_settings(engine="fake", host=host).api_keys == ()


def test_keys_are_a_comma_list_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """No representation of the settings, and no refusal of them, quotes a key."""
    monkeypatch.setenv("MMREWARD_API_KEYS", "secret-one, secret-two,")
    settings = load_settings(engine="fake")
    assert [key.get_secret_value() for key in settings.api_keys] == ["secret-one", "secret-two"]
    assert "secret" not in repr(settings) + str(settings.model_dump()) + settings.model_dump_json()
    with pytest.raises(SettingsRefused) as refusal:
        load_settings(engine="fake", max_items=0, api_keys=["secret-three", 4])
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("names", "word"),
    [
        ("one", "api_key_names has 1 entries"),
        ("one, one", "differ"),
        ("one, none", "none"),
        ("one, two words", "characters"),
    ],
)
def test_names_of_keys_are_one_for_each_and_plain(names: str, word: str) -> None:
    """They are labels on a page that anybody reads; a wrong list is refused, without the keys."""
    with pytest.raises(SettingsRefused, match=word) as refusal:
        load_settings(engine="fake", api_keys="secret-one, secret-two", api_key_names=names)
    assert "secret" not in str(refusal.value)
    settings = load_settings(engine="fake", api_keys="secret-one, secret-two", api_key_names="a, b")
    assert settings.key_names == ("a", "b")
    assert load_settings(engine="fake", api_keys="one, two").key_names == ("1", "2")


@pytest.mark.parametrize("workers", ["2", "many"])
def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    """Each would load the model and count a part of the requests."""
    monkeypatch.setenv("WEB_CONCURRENCY", workers)
    with pytest.raises(SettingsRefused, match=f"WEB_CONCURRENCY is {workers}"):
        load_settings(engine="fake")
    monkeypatch.setenv("WEB_CONCURRENCY", "1")
    assert load_settings(engine="fake").engine == "fake"


def test_settings_are_frozen() -> None:
    """Nothing changes a limit while requests are being checked against it."""
    with pytest.raises(ValidationError):
        Settings(engine="fake").max_items = 3  # type: ignore[misc]


def test_every_setting_is_documented() -> None:
    """docs/settings.md has a line for each setting and for nothing else."""
    text = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert rows == set(Settings.model_fields)
