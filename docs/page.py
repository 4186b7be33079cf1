"""Make the picture of the README from the demo's checkpoint: the page of an invented person.

    make demo && .venv/bin/python docs/page.py && chromium --headless --screenshot=docs/page.png \
        --window-size=1100,1900 outputs/demo/invented.html

The history is made up here; no person of the data is shown.
"""

from pathlib import Path

import recexplain
from recexplain.counterfactual import Options
from recexplain.explainers import Cleann
from recexplain.explainers.driver import Person, explain_case
from recexplain.report.page import picture_of, user_page

FILMS = (71, 588, 95, 423, 202, 69, 204, 22, 28, 385, 117, 222, 227, 228, 229, 50, 172, 181, 174, 210, 173, 168, 96)


def main() -> None:
    """Write `outputs/demo/invented.html`."""
    recommender = recexplain.load("outputs/demo/checkpoint.ckpt")
    assert recommender.vocabulary is not None
    case = explain_case(recommender, Person("invented", FILMS), Cleann(), Options())
    picture = picture_of(case.explanation, case.graphs[case.head], recommender.vocabulary.title_of)
    note = f"Graph of attention head {case.head + 1} of {len(case.graphs)}, deepest layer."
    page = user_page(case.explanation, recommender.vocabulary.title_of, picture=picture, note=note)
    Path("outputs/demo/invented.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
