"""Make the pictures of the README from an invented catalogue and invented people: a person's page, an audit's report.

    .venv/bin/python docs/invented.py outputs/invented    # needs chromium

No film, person or viewing of any real data is in them. What the model learns of these people means nothing.
"""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
PEOPLE, SEED, SHOWN = 400, 7, "p17"

FILMS = {
    "Crime": (
        "Inspector Halloran's Ledger", "The Pewter Alibi", "Eleven Wet Matches", "The Customs Shed",
        "Salt on the Warrant", "A Drowned Signature", "The Pewter Alibi II", "Night Tariff", "The Last Weighbridge",
    ),
    "Science fiction": (
        "Ninety Days to Oberon", "The Quiet Airlock", "Cartographers of Ceres", "Oberon Returns", "The Slow Comet",
        "Salvage Orbit Nine", "A Garden on Callisto", "The Quiet Airlock Opens", "Last Mail from Titania",
    ),
    "Comedy": (
        "The Spare Bridegroom", "My Landlord the Parrot", "Two Left Trombones", "Aunt Perpetua Drives",
        "The Spare Bridegroom Again", "A Hat for the Minister", "Dinner for Nobody", "The Accidental Choir",
        "Five Reluctant Uncles",
    ),
    "Adventure": (
        "The Cinnamon Caravan", "Map of the Glass Desert", "The Kite Smugglers", "Beyond the Ninth Ford",
        "The Brass Elephant Trail", "Return to the Glass Desert", "Monsoon Compass", "The Tin Idol of Marrow",
        "The Ferryman's Wager",
    ),
    "Drama": (
        "The Beekeeper's Winter", "Letters Without Stamps", "A Chair by the Estuary", "The Piano Tuner of Lodd",
        "What the Orchard Owed", "Sunday at the Viaduct", "The Unlit Kitchen", "Letters Without Stamps, Part Two",
        "Her Father's Barometer",
    ),
    "Horror": (
        "The Wallpaper Breathes", "Cellar of Small Bells", "The Moth Sermon", "Teeth of the Almanac",
        "The Wallpaper Breathes Again", "Hush, Said the Well", "The Candle Inspector", "A Coffin for Tuesday",
        "The Lodger Below Stairs",
    ),
    "Animation": (
        "Pip and the Paper Whale", "The Turnip Who Would Be King", "Seven Sleepy Dragons", "Pip and the Lantern Owl",
        "Marmalade Moon", "The Snail Express", "Bobbin Goes to Sea", "The Turnip's Second Reign",
        "Clockwork Hedgehog",
    ),
    "Western": (
        "Dust at Harrow Creek", "Three Nails for a Sheriff", "The Widow's Dray", "Long Shadow, Short Rope",
        "Return to Harrow Creek", "The Toll at Bent Pine", "Sundown Auction", "A Mule Named Mercy",
        "The Quiet Deputy",
    ),
}  # fmt: skip


def main() -> None:
    """Write the data, train, explain, audit, and take both pictures."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/invented")
    out.mkdir(parents=True, exist_ok=True)
    write_data(out)
    data = ["data=interactions", f"data.path={out}/ratings.csv", f"data.titles_path={out}/films.csv"]
    small = ["model.max_length=30", "model.dim=32", "recipe.epochs=30"]
    run("train", *data, "data.category_col=genre", *small, f"out={out}/trained")
    checkpoint = f"checkpoint={out}/trained/checkpoint.ckpt"
    run("explain", checkpoint, f"users=[{SHOWN}]", f"out={out}/explained")
    users = [f"users.path={out}/people.csv", "users.columns=[age]"]
    few = ["sensitivity.people=30", "comparison.people=30", "cases=2"]
    run("audit", checkpoint, "change=leaves", "k=5", *users, *few, "gate.explained=0.95", f"out={out}/audit")
    photograph(out / "explained" / "users" / "1.html", ROOT / "docs" / "page.png", height=2300)
    photograph(out / "audit" / "report.html", ROOT / "docs" / "report.png", height=2300)


def photograph(page: Path, picture: Path, *, height: int) -> None:
    """Write the top of a page as a picture of few colours."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "page.png"
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
        ]
        size = [f"--window-size=1100,{height}", f"--screenshot={whole}"]
        subprocess.run(["chromium", *flags, *size, page.resolve().as_uri()], check=True, capture_output=True)  # noqa: S603, S607
        small = Image.open(whole).convert("RGB").quantize(128, method=Image.Quantize.MAXCOVERAGE)
        small.save(picture, optimize=True)


def run(*words: str) -> None:
    """Run one of our commands."""
    subprocess.run([sys.executable, "-m", "recexplain", *words], check=True)  # noqa: S603  our own


def write_data(out: Path) -> None:
    """Write films, and people who mostly go on with the kind of film they saw last, in the order of the series."""
    draw, genres = np.random.default_rng(SEED), list(FILMS)
    films = [(genre, place) for genre in genres for place in range(len(FILMS[genre]))]
    numbers = {film: str(number) for number, film in enumerate(films, start=1)}
    titles = [[numbers[g, i], f"{FILMS[g][i]} ({1979 + 2 * i + genres.index(g) % 2})", g] for g, i in films]
    _write(out / "films.csv", ["item_id", "title", "genre"], titles)
    rows, people = [], []
    for person in range(1, PEOPLE + 1):
        liked = draw.permutation(len(genres))[:3]
        people.append([f"p{person}", str(draw.choice(["under 30", "30 to 49", "50 and over"], p=[0.4, 0.4, 0.2]))])
        seen: list[tuple[str, int]] = []
        genre, place = genres[liked[0]], int(draw.integers(4))
        for _ in range(int(draw.integers(10, 26))):
            if draw.random() < 0.3:
                genre, place = (
                    genres[draw.choice(liked if draw.random() < 0.85 else len(genres))],
                    int(draw.integers(6)),
                )
            near = sorted(
                {(genre, i) for i in range(len(FILMS[genre]))} - set(seen), key=lambda f: (abs(f[1] - place), f)
            )
            if near:
                seen.append(near[0] if draw.random() < 0.8 else near[int(draw.integers(len(near)))])
                place = seen[-1][1] + 1
        rows += [[f"p{person}", numbers[film], str(time)] for time, film in enumerate(seen)]
    _write(out / "ratings.csv", ["user_id", "item_id", "timestamp"], rows)
    _write(out / "people.csv", ["user_id", "age"], people)


def _write(path: Path, names: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])


if __name__ == "__main__":
    main()
