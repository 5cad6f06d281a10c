"""Simulate sequential studies: `python -m tests.sequential.make` writes docs/group-sequential.json and .md."""

import json

from tests.sequential import page, simulate


def main() -> None:
    """Write figures and page."""
    document = {
        "sd": simulate.SD,
        "margin": simulate.MARGIN,
        "n_studies": simulate.N_STUDIES,
        "rows": simulate.figures(),
    }
    page.DATA.write_text(json.dumps(document, indent=1) + "\n")
    page.PAGE.write_text(page.render(document))


if __name__ == "__main__":
    main()
