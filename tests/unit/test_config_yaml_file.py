"""YAML that cannot be read says where and what to do."""

import os
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from slimline.config.yaml_file import dotted, parse_file, read_yaml
from slimline.errors import SlimlineError


def error_of(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SlimlineError) as caught:
        read_yaml(path)
    return str(caught.value).replace(str(tmp_path) + os.sep, "")


NOT_YAML = {
    "tab": ("a:\n\tb: 1", "bad.yaml:2:1 (line 2, column 1)", "a tab"),
    "second colon": ("a: b: c", "bad.yaml:1:5 (line 1, column 5)", "one `key: value` a line"),
    "indented key": ("a: 1\n b: 2", "bad.yaml:2:3", "the same column"),
    "other column": ("a:\n  b: 1\n c: 2", "bad.yaml:3:2", "starts in another column"),
    "list, then key": ("- a\nb: 1", "bad.yaml:2:1", "starts in another column"),
    "no colon": ("a: 1\nb\n", "bad.yaml:3:1", "a key without a colon"),
    "open bracket": ("a: [1, 2", "bad.yaml:1:9", "a bracket that is not closed"),
    "open quotes": ("a: 'x", "bad.yaml:1:6", "quotes that are not closed"),
    "special character": ("a: @x", "bad.yaml:1:4", "text in quotes"),
    "unknown anchor": ("a: *x", "bad.yaml:1:4", "a star"),
    "unknown tag": ("a: !x 1", "bad.yaml:1:4", "an exclamation mark"),
    "two documents": ("a: 1\n---\nb: 2", "bad.yaml:2:1", "one document per file"),
    "mapping as key": ("a:\n  {b: 1}: 2", "bad.yaml:2:3", "text as key"),
    "control character": ("a: 1\nb: \x1b[0m", "bad.yaml:2:4", "a control character"),
    "no such date": ("a: 2024-13-45", "bad.yaml", "month must be in 1..12"),
    "nested too deep": ("[" * 1500, "bad.yaml", "nested too deep"),
}


@pytest.mark.parametrize(("content", "place", "words"), NOT_YAML.values(), ids=NOT_YAML)
def test_not_yaml(tmp_path, content, place, words):
    text = error_of(tmp_path, content)
    assert text.startswith("The file is not valid YAML.")
    assert place in text
    assert words in text
    assert all(character.isprintable() or character == "\n" for character in text)


def test_the_caret_stands_below_the_character(tmp_path):
    lines = error_of(tmp_path, "good: 1\na: b: c").splitlines()
    caret = next(index for index, line in enumerate(lines) if line.strip() == "^")
    assert lines[caret - 1][lines[caret].index("^") :] == ": c"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "an empty file"),
        ("  \n\n", "an empty file"),
        ("# nothing yet\n", "comments only"),
        ("- a\n- b\n", "got:      a list"),
        ("just text", "the str 'just text'"),
        (b"a: \xe9\n", "byte 0xe9 at byte offset 3"),
        ("a: 1".encode("utf-16"), "byte 0xff at byte offset 0"),
    ],
)
def test_no_mapping(tmp_path, content, words):
    assert words in error_of(tmp_path, content)


def test_keys_that_stand_twice(tmp_path):
    text = error_of(tmp_path, "a: 1\nb:\n  c: 1\n  c: 2\na:\n  - d: 1\n    d: 2\n")
    assert "`b.c` in lines 3 and 4" in text
    assert "`a` in lines 1 and 5" in text
    assert "`a[0].d` in lines 6 and 7" in text
    assert "`c`" not in text


def test_a_section_that_stands_twice_is_told_once(tmp_path):
    text = error_of(tmp_path, "a:\n  b: 1\na:\n  b: 2\n")
    assert "`a` in lines 1 and 3" in text
    assert "a.b" not in text


def test_missing_files(tmp_path):
    (tmp_path / "config.yaml").write_text("a: 1")
    with pytest.raises(SlimlineError, match=r"did you mean `config\.yaml`\?"):
        read_yaml(tmp_path / "confg.yaml")
    with pytest.raises(SlimlineError, match=r"an existing file, such as config\.yaml"):
        read_yaml(tmp_path / "zzzz")
    with pytest.raises(SlimlineError, match="does not exist either"):
        read_yaml(tmp_path / "nowhere" / "config.yaml")
    with pytest.raises(SlimlineError, match=re.escape("cannot be read")):
        read_yaml(tmp_path)


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "marked.yaml"
    path.write_bytes("a: 1\n".encode("utf-8-sig"))
    assert read_yaml(path) == {"a": 1}


def test_lines_of_keys_and_items(tmp_path):
    path = tmp_path / "lines.yaml"
    path.write_text("a:\n  b: 1\n  c:\n    - 1\n    - {d: 2}\ne: 3\n")
    assert parse_file(path).lines == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("a", "c", 0): 4,
        ("a", "c", 1): 5,
        ("a", "c", 1, "d"): 5,
        ("e",): 6,
    }


def test_aliases_merge_and_may_point_at_themselves(tmp_path):
    path = tmp_path / "alias.yaml"
    path.write_text("x: &x {a: 1, b: 1}\ny: {<<: *x, a: 2}\nz: &z [*z]\n")
    file = parse_file(path)
    assert file.content["y"] == {"a": 2, "b": 1}
    assert not file.repeated
    assert file.lines["z",] == 3


VALUES = st.recursive(
    st.integers() | st.booleans() | st.text("abc:#'\"- ", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcd", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def any_yaml(tmp_path_factory):
    return tmp_path_factory.mktemp("yaml") / "any.yaml"


@given(content=st.dictionaries(st.text("abcdef", min_size=1, max_size=6), VALUES, min_size=1, max_size=4))
def test_whatever_yaml_writes_is_read_back_with_a_line_for_every_path(any_yaml, content):
    path = any_yaml
    path.write_text(yaml.safe_dump(content))
    file = parse_file(path)
    assert file.content == content
    rows = path.read_text().splitlines()
    assert {(key,) for key in content} <= set(file.lines)
    for key_path, line in file.lines.items():
        if isinstance(key_path[-1], str):
            assert key_path[-1] in rows[line - 1]


def test_dotted():
    assert dotted(("train", "seeds", 1)) == "train.seeds[1]"
    assert dotted(("variants", "a-b", "from")) == "variants.a-b.from"
