"""What the hand-written documentation says exists, and its examples are valid."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from slimline.config.cluster import ClusterConfig
from slimline.config.experiment import ExperimentConfig
from slimline.config.load import load_experiment_file

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
CODE_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]+`")
LINKS = (re.compile(r"\]\(([^)\s]+)\)"), re.compile(r'<img[^>]*\ssrc="([^"]+)"'))
FIRST_SCREEN_LINES = 20


def name_of(path):
    return str(path.relative_to(ROOT))


def prose(page):
    """A page without what is meant literally."""
    return INLINE_CODE.sub("", CODE_BLOCK.sub("", page.read_text(encoding="utf-8")))


def anchors(page):
    """Anchors that Markdown gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", CODE_BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_images_lead_somewhere(page):
    targets = [target for pattern in LINKS for target in pattern.findall(prose(page))]
    for target in targets:
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(ROOT), f"{target} leads out of the repository"
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        linked = [(page.parent / target.partition("#")[0]).resolve() for target in LINKS[0].findall(prose(page))]
        waiting += [file for file in linked if file in PAGES and file not in reached]
    assert reached == set(PAGES)


def test_the_readme_starts_with_what_it_is_and_the_two_commands():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    fences = [number for number, line in enumerate(lines, start=1) if line.startswith("```")]
    assert fences[1] <= FIRST_SCREEN_LINES, "the first code block ends too late"
    first_block = lines[fences[0] : fences[1] - 1]
    assert [line.split("#")[0].strip() for line in first_block] == ["make run", "make test"]
    assert not any("](" in line for line in lines[: fences[0]]), "no badges or links before the commands"


def make_targets():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))


def named_targets(page):
    """Targets of make that a page names as code; words of prose such as "make it so" are none."""
    text = page.read_text(encoding="utf-8")
    code = [block for language, block in CODE_BLOCK.findall(text) if language == "console"]
    return set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", "\n".join([*code, *INLINE_CODE.findall(text)]), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_that_is_named_exists(page):
    assert named_targets(page) <= make_targets()


def test_every_make_target_is_in_the_reference():
    assert named_targets(ROOT / "docs/reference/commands.md") == make_targets()


def yaml_blocks():
    for page in PAGES:
        for language, block in CODE_BLOCK.findall(page.read_text(encoding="utf-8")):
            if language == "yaml":
                yield pytest.param(block, id=f"{name_of(page)}: {block.splitlines()[0]}")


def with_fragment(fragment):
    """The embedded default with the sections of a fragment in place of, or added to, its own."""
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    for section, value in fragment.items():
        keeps = isinstance(value, dict) and section in config
        config[section] = config[section] | value if keeps else value
    return config


@pytest.mark.parametrize("block", [*yaml_blocks()])
def test_yaml_examples_are_valid(block, tmp_path):
    """A whole experiment loads, a cluster validates, a fragment of an experiment fits the default."""
    content = yaml.safe_load(block)
    if block.startswith("# profiles/"):
        file = ROOT / block.split(",")[0].removeprefix("# ").strip()
        commented = re.findall(r"^# +(\w+): ", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert content.keys() <= set(commented), f"keys that {name_of(file)} offers in comments"
    elif block.startswith("# config/clusters/"):
        assert block.splitlines()[0] == f"# config/clusters/{ClusterConfig.model_validate(content).name}.yaml"
    elif "experiment" in content:
        (tmp_path / "example.yaml").write_text(block)
        load_experiment_file(tmp_path / "example.yaml", clusters=ROOT / "config/clusters")
    else:
        ExperimentConfig.model_validate(with_fragment(content))


PINNED = re.compile(r"^([\w.-]+)==([\w.+!-]+)(?: ; (.+))?$", re.MULTILINE)


def pins(lock):
    """Name to the set of (version, marker) in a lock file: a universal one may pin several."""
    found = {}
    for name, version, marker in PINNED.findall((ROOT / lock).read_text(encoding="utf-8")):
        found.setdefault(canonicalize_name(name), set()).add((version, marker))
    assert found, lock
    return found


def metadata():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize(
    ("lock", "extras"), [("requirements.lock", ()), ("requirements-dev.lock", ()), ("requirements-dev.lock", ("dev",))]
)
def test_the_lock_holds_what_the_package_asks_for(lock, extras):
    project, locked = metadata(), pins(lock)
    wanted = project["dependencies"] if not extras else project["optional-dependencies"]["dev"]
    for requirement in map(Requirement, wanted):
        versions = {version for version, _ in locked.get(canonicalize_name(requirement.name), ())}
        assert versions, f"{requirement.name} is not locked: run `make lock`"
        for version in versions:
            assert requirement.specifier.contains(version), f"{requirement} but {version}: run `make lock`"


def test_the_lock_for_tests_is_the_lock_with_more():
    small, large = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {name: large.get(name) for name in small} == small
    assert large.keys() > small.keys()


def test_the_conda_environment_is_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    packages = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (python,) = (entry.removeprefix("python=") for entry in packages if entry.startswith("python="))
    assert Version(python) in SpecifierSet(metadata()["requires-python"])
    # conda writes these lines into a requirements file, where an option of the command line is an error.
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert pip == ["-r requirements.lock", "-e ."]


def test_the_commit_hooks_are_the_checks_of_make():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (prerequisites,) = re.findall(r"^check: (.+?) ##", makefile, re.MULTILINE)
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {repository["repo"] for repository in config["repos"]} == {"local"}, "nothing from the network"
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert [hook["entry"] for hook in hooks] == [f"make {target}" for target in prerequisites.split()]
    assert all(hook["always_run"] and not hook["pass_filenames"] for hook in hooks)
