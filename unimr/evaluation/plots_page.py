"""The page that `dvc plots show` draws into, with the drawing library inside: it opens without a network.

DVC's own page loads Vega from a content delivery network and stays blank offline.
"""

from __future__ import annotations

from pathlib import Path

from unimr.files import write_text

PAGE = Path(".dvc/plots-page.html")
"""Named as `plots.html_template` in `.dvc/config`."""

_GLOBALS = "window.vegaEmbed = vegaEmbed; window.vega = vega; window.vegaLite = vegaLite;"
_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Plots</title>
{refresh_tag}
<style>body {{ font-family: sans-serif; margin: 2rem; }} table {{ border-spacing: 1rem; }}</style>
<script>{library}</script>
</head>
<body>
<h1>Plots</h1>
{plot_divs}
</body>
</html>
"""


def write_plots_page(root: Path) -> None:
    """Write the page's template for this checkout."""
    import vl_convert

    # A closing tag inside the library's strings would end the script element.
    library = vl_convert.javascript_bundle(_GLOBALS).replace("</script", "<\\/script")
    page = _HTML.replace("{{", "{").replace("}}", "}").replace("{library}", library)
    write_text(root / PAGE, page)


if __name__ == "__main__":
    write_plots_page(Path())
