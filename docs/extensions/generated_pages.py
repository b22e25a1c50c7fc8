"""Writes the pages that are made from the code and from results."""

import importlib
import inspect
import json
import pathlib
from typing import Any

import keras_lip
from drawn_figures import load_script
from model_cards import write_card
from site_links import rewrite_links

_DOCS = pathlib.Path(__file__).parents[1]
_ROOT = _DOCS.parent

# How autodoc calls what a face shows.
_DIRECTIVES = {True: "autoclass", False: "autofunction"}


def write_all(app: Any) -> None:
    """Writes `docs/generated` anew."""
    folder = _DOCS / "generated"
    pages = {
        **_api_pages(),
        **_benchmark_pages(),
        **_project_pages(),
        **_race_pages(),
        **_weight_pages(),
    }
    wanted = {folder / path: text for path, text in pages.items()}
    for path in folder.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        # An old page stays as it is, and is not built again.
        if path.exists() and path.read_text("utf-8") == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def _api_pages() -> dict[str, str]:
    pages = {}
    for face in keras_lip.__all__:
        if face.startswith("_"):
            continue
        module = importlib.import_module(f"keras_lip.{face}")
        pages[f"api/{face}.md"] = _face_page(face, module)
        for name in module.__all__:
            pages[f"api/{face}/{name}.md"] = _object_page(face, module, name)
    return pages


def _face_page(face: str, module: Any) -> str:
    lines = [
        f"# `kl.{face}`",
        "",
        inspect.getdoc(module) or "",
        "",
        "| name | description |",
        "|---|---|",
    ]
    for name in sorted(module.__all__, key=str.lower):
        summary = _summary(getattr(module, name)).replace("|", "\\|")
        lines.append(f"| [`{name}`]({face}/{name}.md) | {summary} |")
    lines += [
        "",
        "```{toctree}",
        ":hidden:",
        "",
        *(f"{face}/{name}" for name in sorted(module.__all__, key=str.lower)),
        "```",
        "",
    ]
    return "\n".join(lines)


def _object_page(face: str, module: Any, name: str) -> str:
    value = getattr(module, name)
    path = f"keras_lip.{face}.{name}"
    if not inspect.isclass(value) and not inspect.isfunction(value):
        # An object that is called, such as `propagate_bound`.
        directive, options = "autodata", ["   :no-value:"]
        members = [
            f".. automethod:: {path}.{method}"
            for method in vars(type(value))
            if not method.startswith("_")
        ]
    else:
        directive = _DIRECTIVES[inspect.isclass(value)]
        options = ["   :members:"] if inspect.isclass(value) else []
        members = []
    return "\n".join(
        [
            f"# {name}",
            "",
            "```{eval-rst}",
            f".. {directive}:: {path}",
            *options,
            "",
            *members,
            "```",
            "",
        ]
    )


def _summary(value: Any) -> str:
    return (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")


def _benchmark_pages() -> dict[str, str]:
    pages = {}
    for path in sorted((_ROOT / "benchmarks" / "results").glob("*.md")):
        text = path.read_text("utf-8")
        if not text.startswith("# "):
            text = f"# {path.stem.replace('_', ', ')}\n\n{text}"
        pages[f"benchmarks/{path.name}"] = rewrite_links(text, path.parent)
    return pages


def _project_pages() -> dict[str, str]:
    """Copies pages of the repository, and lists those on results."""
    pages = {
        f"{name.lower()}.md": rewrite_links(
            (_ROOT / f"{name}.md").read_text("utf-8"), _ROOT
        )
        for name in ("CHANGELOG", "CONTRIBUTING", "RESULTS")
    }
    results = sorted((_DOCS / "results").glob("*.md"))
    listed = "\n".join(f"/results/{path.stem}" for path in results)
    pages["results.md"] += f"\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n"
    return pages


def _race_pages() -> dict[str, str]:
    """Returns the tables of the speedrun, which its page includes."""
    script = load_script(_ROOT / "experiments" / "speedrun.py")
    results = json.loads((_DOCS / "data" / "speedrun.json").read_text("utf-8"))
    return {"speedrun_tables.md": script.format_page(results)}


def _weight_pages() -> dict[str, str]:
    folder = _ROOT / "keras_lip" / "applications" / "weights"
    return {
        f"weights/{entry.file.removesuffix('.weights.h5')}.md": write_card(
            entry, folder
        )
        for entry in keras_lip.applications.list_weights()
    }


def setup(app: Any) -> dict[str, bool]:
    """Writes before pages are read."""
    app.connect("builder-inited", write_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
