"""Sphinx's configuration."""

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from steer_env import __version__  # noqa: E402

project, author, version, release = "steer_env", "The steer_env authors", __version__, __version__
project_copyright = author
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]
exclude_patterns = ["_build"]
nitpicky = False
# "--multirun" has two hyphens.
smartquotes = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_rtype = False
sphinx_gallery_conf = {
    "examples_dirs": [str(ROOT / "docs" / "notebooks")],
    "gallery_dirs": ["notebooks"],
    "filename_pattern": r"/notebooks/",
    "ignore_pattern": r"__init__\.py",
    "within_subsection_order": "FileNameSortKey",
    "remove_config_comments": True,
    "min_reported_time": 1e9,
    "show_memory": False,
    "show_signature": False,
    "abort_on_example_error": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "steer_env"
html_static_path = [str(Path(__file__).parent / "static")]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options: dict[str, Any] = {
    "logo": {"text": "steer_env"},
    "header_links_before_dropdown": 6,
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "navigation_depth": 2,
    "show_nav_level": 1,
    "pygments_light_style": "tango",
}


def _plain(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are written to be read as they are: cards' headings become bold, lone asterisks stay asterisks."""
    text = "\n".join(lines)
    text = re.sub(r"^### (.*)$", r"**\1**\n", text, flags=re.MULTILINE)
    text = re.sub(r"(?<![\w*`\\])\*(?=[a-z_]\w*(?:[,) ]|$))(?!\w+\*)", r"\\*", text)
    for sign in (r"\*\*(?=\w+:)", r"\|(?=\w)"):
        text = re.sub(rf"(?<![\\`*\w]){sign}", lambda match: "".join("\\" + each for each in match[0]), text)
    lines[:] = text.split("\n")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _plain)
