from pathlib import Path

import pytest

from tools import secret_scan, tree

# Put together here, so that this file does not look like what it tests.
EXAMPLES = {
    "access key of AWS": "AKIA" + "ABCDEFGHIJKLMNOP",
    "credentials in a URL": "redis://user" + ":hunter22@cache:6379",
    "JSON web token": ".".join(["eyJ" + "hbGciOiJIUzI1NiJ9", "eyJ" + "zdWIiOiIxMjM0NTY3", "dBjftJeZ4CVPmB92K27u"]),
    "key of a model API": "sk-" + "proj0123456789abcdefghij",
    "key of Google": "AIza" + "B" * 35,
    "private key": "-----BEGIN EC " + "PRIVATE KEY-----",
    "token of GitHub": "ghp_" + "a1B2" * 9,
    "token of GitLab": "glpat-" + "a1B2c" * 4,
    "token of Hugging Face": "hf_" + "a1B2c" * 6,
    "token of Slack": "xoxb-" + "1234567890-abc",
}


def test_every_shape_has_an_example() -> None:
    assert set(EXAMPLES) == set(secret_scan.SHAPES)


@pytest.mark.parametrize(("rule", "text"), EXAMPLES.items(), ids=lambda value: str(value)[:20])
def test_line_with_a_secret_is_named_by_its_rule(rule: str, text: str) -> None:
    assert rule in list(secret_scan.rules_of(f'value = "{text}"'))


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "' + "q7Zt0pLw92xKdV4nRb81" + '"',
        "password: " + "kJ8s0dLq2Xc5vB7nM1z3",
        "TOKEN=" + "9f86d081884c7d659a2feaa0",
    ],
)
def test_random_value_given_to_a_secret_name_is_found(line: str) -> None:
    assert list(secret_scan.rules_of(line)) == ["value given to a secret's name"]


@pytest.mark.parametrize(
    "line",
    [
        "apiKeySecretRef: {name: model-server, key: api-key}",
        "token = settings.api_key_path.read_text().strip()",
        'secret_name = "knowledge-base-credentials"',
        "password: ${REDIS_PASSWORD_FROM_THE_SECRET}",
        "http://qdrant.lectern.svc:6333",
        "    --hash=sha256:0a30ef8f5322a4173720ae6712dc9a5e58f5a19868f3f167b4b5778db066c2b5",
    ],
)
def test_ordinary_line_is_not_a_finding(line: str) -> None:
    assert list(secret_scan.rules_of(line)) == []


def test_line_that_is_allowed_is_passed_over() -> None:
    line = EXAMPLES["token of GitHub"]
    assert list(secret_scan.rules_of(f"{line}  # {secret_scan.ALLOW}: made up")) == []


def test_scan_names_file_and_line_and_not_the_secret(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nothing\n" + EXAMPLES["private key"] + "\n")
    (tmp_path / "b.bin").write_bytes(b"\0" + EXAMPLES["private key"].encode())
    found = secret_scan.scan(sorted(tmp_path.iterdir()), root=tmp_path)
    assert found == [secret_scan.Finding("a.txt", 2, "private key")]
    assert str(found[0]) == "a.txt:2: private key"


def test_this_repository_holds_no_secret() -> None:
    assert secret_scan.scan(tree.files(), root=tree.ROOT) == []
