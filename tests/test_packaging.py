"""The wheel: what is in it, and that it works where nothing else of the checkout is."""

import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "recexplain": "recexplain",
    "conf": "recexplain.conf",
    "training": "recexplain.training",
    "eval": "recexplain.evaluation",
}


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def packages_on_disk() -> set[str]:
    found = set()
    for folder, package in FOLDERS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join([package, *inner]))
    return found


def test_every_package_on_disk_is_named() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(settings["tool"]["setuptools"]["packages"]) == packages_on_disk()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, tree, cwd=tree)
    return next(out.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_what_runs_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    configured = {f"recexplain/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    pages = {f"recexplain/report/{path.name}" for path in (ROOT / "recexplain" / "report").glob("*.j2")}
    assert configured | pages | {"recexplain/py.typed"} <= names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"recexplain"}


@pytest.mark.slow
def test_the_console_script_works_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    # The dependencies come from here; an editable install of ours is a .pth file, which is not followed from there.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    where = run(python, "-c", "import recexplain; print(recexplain.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(environment)
    script = environment / "bin" / "recexplain"
    assert "recipe" in run(script, "train", "--help", cwd=tmp_path)
    run(
        script,
        "train",
        "limit=50",
        "recipe.epochs=1",
        "recipe.validate_every=1",
        "model.dim=8",
        "out=trained",
        cwd=tmp_path,
    )
    run(
        script,
        "explain",
        "checkpoint=trained/checkpoint.ckpt",
        "limit=1",
        "max_evaluations=50",
        "out=told",
        cwd=tmp_path,
    )
    assert (tmp_path / "told" / "users" / "1.html").stat().st_size > 10_000
