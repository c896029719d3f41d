from __future__ import annotations

import pytest

from unimr.errors import UnimrError
from unimr.service import keys
from unimr.service.keys import VARIABLE, RateLimiter, check_address, is_loopback, make_key, name_of, read_keys


def test_a_key_is_known_by_its_hash_alone(tmp_path):
    (key, line), (other, its_line) = make_key("ann"), make_key("ben")
    file = tmp_path / "keys"
    file.write_text(f"# who may ask\n\n{line}  # since May\n")
    known = read_keys(file, {VARIABLE: f"{its_line},"})
    assert key not in file.read_text() and len(key) > 40
    assert [name_of(each, known) for each in (key, other, "", "x", line)] == ["ann", "ben", None, None, None]


@pytest.mark.parametrize("line", ["ann", "ann 12", "an n " + "0" * 64, "ann " + "0" * 65])
def test_a_line_that_is_none_is_named(tmp_path, line):
    (tmp_path / "keys").write_text(f"\n{line}\n")
    with pytest.raises(UnimrError, match="line 2 is not of the form"):
        read_keys(tmp_path / "keys", {})


def test_a_missing_file_and_a_bad_name_are_refused(tmp_path):
    with pytest.raises(UnimrError, match="keys_file"):
        read_keys(tmp_path / "nothing", {})
    with pytest.raises(UnimrError, match="letters"):
        make_key("a b")


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True), ("0.0.0.0", False),
     ("::", False), ("192.168.1.5", False), ("example.org", False), ("localhost.example.org", False), ("", False)],
)  # fmt: skip
def test_only_this_machine_is_served_without_keys(host, own):
    assert is_loopback(host) == own
    if own:
        check_address(host, {})
    else:
        with pytest.raises(UnimrError, match="API keys are needed"):
            check_address(host, {})
        check_address(host, {"0" * 64: "ann"})


def test_the_rate_is_of_each_key(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(keys.time, "monotonic", lambda: now[0])
    limiter = RateLimiter(60)
    assert [limiter.wait("ann") for _ in range(10)] == [0.0] * 10
    assert limiter.wait("ann") == pytest.approx(1.0) and limiter.wait("ben") == 0.0
    now[0] = 1.0
    assert limiter.wait("ann") == 0.0 and limiter.wait("ann") > 0
