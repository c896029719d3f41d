"""Templates of the pages that are written to disk."""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template


def page_template(package: str, name: str) -> Template:
    """A template of a package, which extends `unimr/templates/page.html`.

    Every text of the data is escaped, and a name without a value is an error.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("unimr")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
