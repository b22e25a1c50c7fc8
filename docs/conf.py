"""Configuration of the documentation site."""

import pathlib
import sys

_DOCS = pathlib.Path(__file__).parent
sys.path[:0] = [str(_DOCS / "extensions"), str(_DOCS.parent)]

from keras_lip.version import __version__  # noqa: E402

project = "keras_lip"
author = "The keras_lip authors"
copyright = "The keras_lip authors"
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "generated_pages",
    "drawn_figures",
    "markdown_docstrings",
    "mathml",
    "short_sidebar",
    "site_links",
]

# What a build writes or other pages include is no page by itself.
exclude_patterns = [
    "_build",
    "**/README.md",
    "generated/speedrun_tables.md",
]

myst_enable_extensions = [
    "attrs_block",
    "colon_fence",
    "deflist",
    "dollarmath",
    "substitution",
]
myst_heading_anchors = 3

# The notebooks are run, and their outputs shown. An error ends the build.
nb_execution_mode = "auto"
nb_execution_raise_on_error = True
# On a busy machine a cell may take long.
nb_execution_timeout = -1
# What backends say while they load.
nb_output_stderr = "remove"
# Scripts of interactive outputs would be loaded from elsewhere.
nb_ipywidgets_js = {}
myst_substitutions = {"version": __version__}

# The types are in the texts of the docstrings.
autodoc_typehints = "none"
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [
    ("Call arguments", "params_style"),
    "Input shape",
    "Output shape",
]

html_theme = "furo"
html_title = f"keras_lip {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5fa8"},
    "dark_css_variables": {"color-brand-primary": "#7fb4f0"},
}
