"""What is absent from the package: imports that go up, second writers of files, prints, pickles, global chance.

    cli, ui > reports > plots > verify > studies > train, diagnostics, export > evaluate > models, data
            > compute > core

Everything is read from the source with `ast`; nothing is imported but `convscope` itself, in two processes.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "convscope"
LAYERS = [
    {"cli", "ui"},
    {"reports"},
    {"plots"},
    {"verify"},
    {"studies"},
    {"train", "diagnostics", "export"},
    {"evaluate"},
    {"models", "data"},
    {"compute"},
    {"core"},
]
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
FILES = sorted(SOURCE.rglob("*.py"))
HEAVY = ("torch", "scipy", "matplotlib", "sklearn", "pyarrow", "PIL", "pandas")

# Modules without a test file of their own name, and where they are tested instead.
ELSEWHERE = {
    "__main__": "two lines; tests/cli runs `python -m convscope`",
    "events": "only dataclasses; every test of tests/train that watches uses them",
    "loop": "tests/train/test_resume.py compares every step",
    "hooks": "tests/train/test_signals.py, test_selection.py",
    "checkpoint": "tests/train/test_resume.py, test_selection.py",
    "run": "tests/train/test_resume.py, test_config_changed.py, test_identity.py",
    "prepare": "tests/train/test_resume.py, test_config_changed.py, test_crash_points.py",
    "builder": "tests/data/test_cache.py",
    "labels": "tests/data/test_folder.py, test_npz.py",
    "shards": "tests/data/test_parquet.py",
    "selftest": "tests/compute/test_precision.py",
    "completion": "tests/cli/test_main.py",
    "parse": "tests/cli/test_main.py, test_train.py",
    "test": "the verb; tests/cli/test_evaluate.py",
    "scoring": "tests/evaluate/test_runs.py, test_sealed.py, tests/train/test_selection.py",
    "predicting": "tests/evaluate/test_predict.py",
    "images": "tests/evaluate/test_sealed.py, tests/data/test_splits.py",
    "entries": "tests/contracts/test_catalog.py compares every line with the code",
    "subject": "tests/contracts/test_diagnostics.py, tests/train/test_inspecting.py",
    **dict.fromkeys(
        ("resnet20", "depthwise", "lenet5", "double_descent"), "studies; tests/contracts/test_studies.py"
    ),
    "style": "every test of tests/plots draws with it",
}


def label(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def part_of(path: Path) -> str:
    """`train` for train/loop.py; empty for the public face, which may import all."""
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else ""


def imported(code: ast.AST, package: list[str]) -> Iterator[str]:
    """The full names of all modules a piece of code imports, wherever in it: in functions, for types only."""
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield stem
            yield from (f"{stem}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("importlib.import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def _called(node: ast.Call) -> str:
    try:
        return ast.unparse(node.func)
    except ValueError:
        return ""


def upward(code: ast.AST, package: list[str], part: str) -> set[str]:
    """Parts of convscope that this part must not import, and does."""
    names = [name.split(".") for name in imported(code, package)]
    parts = {name[1] for name in names if name[0] == "convscope" and len(name) > 1 and name[1] in RANK}
    return {other for other in parts - {part} if RANK[other] <= RANK[part]}


@pytest.mark.parametrize("path", FILES, ids=label)
def test_imports_go_down(path: Path) -> None:
    part = part_of(path)
    if part:
        package = ["convscope", *path.relative_to(SOURCE).parts[:-1]]
        assert upward(tree(path), package, part) == set()
        assert part in RANK, f"{part} has no place among the layers"


@pytest.mark.parametrize(
    "text",
    [
        "import convscope.train.loop",
        "import convscope.train.loop as loop",
        "from convscope.train import loop",
        "from convscope import train",
        "from convscope.train.loop import *",
        "from ..train import loop",
        "from .. import train",
        "from ..train.loop import Session",
        "def f():\n    from convscope.train import loop",
        "if TYPE_CHECKING:\n    from convscope.train import loop",
        "try:\n    import convscope.train\nexcept ImportError:\n    pass",
        "importlib.import_module('convscope.train.loop')",
        "__import__('convscope.train')",
        "from convscope.studies import run",
        "from convscope.models import build",
    ],
)
def test_every_form_of_import_is_seen(text: str) -> None:
    assert upward(ast.parse(text), ["convscope", "data"], "data") != set()


def test_imports_down_and_inside_are_allowed() -> None:
    code = "from convscope.core import files\nfrom .images import Data\nfrom . import images\nimport torch"
    assert upward(ast.parse(code), ["convscope", "data"], "data") == set()


@pytest.mark.parametrize("path", FILES, ids=label)
def test_inside_a_part_imports_are_relative_and_across_absolute(path: Path) -> None:
    part = part_of(path)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and part:
            assert node.level <= len(path.relative_to(SOURCE).parts) - 1, f"line {node.lineno}: use absolute"
            inside = (node.module or "").startswith(f"convscope.{part}.")
            assert not inside, f"line {node.lineno}: use a relative import inside {part}"


@pytest.mark.parametrize("arguments", [["-c", "import convscope"], ["-m", "convscope", "--help"]], ids=str)
def test_nothing_heavy_is_imported_for_help(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True
    )
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "convscope" in loaded
    assert loaded & set(HEAVY) == set()


# Absences --------------------------------------------------------------------------------------------------

PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def pickles(code: ast.AST) -> list[str]:
    """Imports of what runs programs from files, and calls that do."""
    found = [name for name in imported(code, []) if name.partition(".")[0] in PICKLES]
    for node in ast.walk(code):
        if isinstance(node, ast.Call):
            name = _called(node)
            unsafe = any(
                key.arg == "allow_pickle"
                and not (isinstance(key.value, ast.Constant) and key.value.value is False)
                for key in node.keywords
            )
            if name in ("torch.load", "torch.save", "eval", "exec") or unsafe:
                found.append(name)
    return found


_WRITING_METHODS = {"write_text", "write_bytes", "touch", "unlink", "rename", "rmdir", "mkdir", "tofile",
                    "symlink_to", "hardlink_to", "chmod", "savez", "savez_compressed", "savetxt", "truncate"}  # fmt: skip
_WRITING_CALLS = re.compile(
    r"(os\.(open|write|replace|rename|unlink|remove|mkdir|makedirs|rmdir|truncate|link|symlink)"
    r"|shutil\.(copy\w*|move|rmtree)|np\.save|numpy\.save|torch\.save|tempfile\.(mk\w+|\w*Temporary\w+))"
)


def writes(code: ast.AST) -> list[str]:
    """Calls that create, change or delete files."""
    return [
        f"line {node.lineno}: {_called(node)}"
        for node in ast.walk(code)
        if isinstance(node, ast.Call) and (_WRITING_CALLS.fullmatch(_called(node)) or _writes_by_method(node))
    ]


def _writes_by_method(node: ast.Call) -> bool:
    method = node.func.attr if isinstance(node.func, ast.Attribute) else _called(node)
    if method in _WRITING_METHODS and isinstance(node.func, ast.Attribute):
        return True
    if method == "replace" and isinstance(node.func, ast.Attribute):
        # Path.replace takes one argument; str.replace two, dataclasses.replace keywords.
        return len(node.args) == 1 and not node.keywords
    if method in ("open", "memmap", "open_memmap"):
        given = [*node.args, *(key.value for key in node.keywords)]
        modes = [a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        return any(re.fullmatch(r"[rwaxbt+]{1,3}", mode) and set(mode) & set("wax+") for mode in modes)
    return False


def prints(code: ast.AST) -> list[str]:
    """Calls that put text on the screen."""
    names = ("print", "sys.stdout.write", "sys.stderr.write", "pprint", "warnings.warn")
    return [
        f"line {node.lineno}: {_called(node)}"
        for node in ast.walk(code)
        if isinstance(node, ast.Call) and _called(node) in names
    ]


_GLOBAL_CHANCE = re.compile(
    r"(torch|np|numpy)\.(random\.)?(manual_seed|seed|get_rng_state|set_rng_state|initial_seed|get_state|set_state|fork_rng)"
    r"|torch\.cuda\.(manual_seed\w*|seed\w*|\w*rng_state\w*)|torch\.default_generator\S*"
    r"|(np|numpy)\.random\.(?!Generator$|Philox$|SeedSequence$)\w+|random\.\w+"
)
_DRAWS = {"rand", "randn", "randint", "randperm", "bernoulli", "multinomial", "normal", "poisson"}


def global_chance(code: ast.AST) -> list[str]:
    """Uses of random generators that belong to everybody."""
    found = []
    for node in ast.walk(code):
        if isinstance(node, ast.Call):
            name = _called(node)
            owner, _, method = name.rpartition(".")
            unkeyed = (
                owner == "torch" and method in _DRAWS and not any(k.arg == "generator" for k in node.keywords)
            )
            if _GLOBAL_CHANCE.fullmatch(name) or unkeyed:
                found.append(f"line {node.lineno}: {name}")
    return found


def thread_settings(code: ast.AST) -> list[str]:
    """Changes of torch's state that holds for the whole process."""
    setting = re.compile(r"torch\.(set_\w+|use_deterministic_algorithms)")
    return [
        f"line {node.lineno}: {_called(node)}"
        for node in ast.walk(code)
        if isinstance(node, ast.Call) and setting.fullmatch(_called(node))
    ]


RULES: dict[str, tuple[Callable[[ast.AST], list[str]], Callable[[str], bool]]] = {
    "no pickle": (pickles, lambda name: name == "data/pickled.py"),
    "one writer of files": (writes, lambda name: name == "core/files.py"),
    "no print below cli": (prints, lambda name: name.startswith("cli/") or name == "__main__.py"),
    "no global chance": (global_chance, lambda name: name.startswith("compute/")),
    "no global settings": (thread_settings, lambda name: name.startswith("compute/")),
}


# Single calls that break a rule by the letter only.
EXCUSED = {
    "cli/main.py": ("os.open", "of /dev/null, when the reader of our output went away"),
    "cli/doctor.py": ("torch.randn", "images to time; the process does nothing else"),
    "data/builder.py": ("np.save", "into memory; files.write brings it to the disk"),
    "evaluate/subject.py": ("np.savez_compressed", "into memory; files.write brings it to the disk"),
}


@pytest.mark.parametrize("path", FILES, ids=label)
def test_what_must_not_be_there_is_not_there(path: Path) -> None:
    call, _ = EXCUSED.get(label(path), ("nothing", ""))
    for rule, (look, allowed) in RULES.items():
        found = [] if allowed(label(path)) else look(tree(path))
        assert [place for place in found if not place.endswith(f": {call}")] == [], rule


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("no pickle", "import pickle"),
        ("no pickle", "def f():\n    from pickle import loads"),
        ("no pickle", "torch.load(path)"),
        ("no pickle", "np.load(path, allow_pickle=True)"),
        ("no pickle", "np.load(path, allow_pickle=flag)"),
        ("one writer of files", "path.write_text('a')"),
        ("one writer of files", "path.open('w')"),
        ("one writer of files", "open(path, mode='ab')"),
        ("one writer of files", "np.memmap(path, np.uint8, 'r+')"),
        ("one writer of files", "np.save(path, a)"),
        ("one writer of files", "os.replace(a, b)"),
        ("one writer of files", "a.replace(b)"),
        ("one writer of files", "shutil.rmtree(a)"),
        ("no print below cli", "print(1)"),
        ("no global chance", "torch.manual_seed(0)"),
        ("no global chance", "np.random.rand(3)"),
        ("no global chance", "np.random.default_rng()"),
        ("no global chance", "random.shuffle(a)"),
        ("no global chance", "torch.randn(3)"),
        ("no global settings", "torch.set_num_threads(1)"),
    ],
)
def test_every_rule_can_be_broken(rule: str, text: str) -> None:
    assert RULES[rule][0](ast.parse(text)) != []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("no pickle", "np.load(path, allow_pickle=False)"),
        ("one writer of files", "path.open('rb'); 'a'.replace('b', 'c'); replace(a, b=1); open('r')"),
        ("no global chance", "torch.randn(3, generator=g); np.random.Generator(np.random.Philox(key=1))"),
    ],
)
def test_no_rule_forbids_too_much(rule: str, text: str) -> None:
    assert RULES[rule][0](ast.parse(text)) == []


def test_every_module_has_a_test_file() -> None:
    tested = {path.stem.removeprefix("test_") for path in TESTS.rglob("test_*.py")}
    modules = {path.stem for path in FILES if path.stem != "__init__"}
    missing = modules - tested - ELSEWHERE.keys()
    assert missing == set(), "write tests/**/test_NAME.py, or say in ELSEWHERE where the module is tested"
    assert ELSEWHERE.keys() <= modules, "ELSEWHERE names a module that is gone"
    assert ELSEWHERE.keys() & tested == set(), "ELSEWHERE names a module that has its own tests"
