"""Models that RecBole itself fits to MovieLens-100K, and whether their checkpoints score here as they do there.

    python benchmarks/foreign.py FOLDER SASRec=6 BERT4Rec=6 GRU4Rec=6 CORE=1 NARM=1 SRGNN=1 STAMP=1 FPMC=1

Each model is fitted for so many epochs by RecBole's own trainer, in a process of its own that imports nothing of ours;
it saves `<model>.pth`, reads it again as RecBole does, and notes what `full_sort_predict` says of its own loader's test
histories. Then `recexplain.load` reads the file and is asked the same. A model that is there is not fitted again.
"""

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

ROWS = 512  # histories scored together, here and there: a sum is rounded otherwise in a batch of another size
NEGATIVE = {"distribution": "uniform", "sample_num": 1}
OPTIONS = {
    "MAX_ITEM_LIST_LENGTH": 20,
    "hidden_size": 32,
    "embedding_size": 32,
    "inner_size": 64,
    "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]},
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
    "eval_batch_size": ROWS * 1683,  # RecBole counts a score each
    "metrics": ["NDCG"],
    "valid_metric": "NDCG@10",
    "topk": [10],
    "use_gpu": False,
    "show_progress": False,
    "seed": 0,
    "reproducibility": True,
    "state": "ERROR",
}


def fit(name: str, n_epochs: int, folder: Path) -> None:
    """Let RecBole fit a model and save it, and note what it says of its test histories."""
    warnings.filterwarnings("ignore")
    sys.argv = sys.argv[:1]  # RecBole takes options from it
    for old, kind in {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}.items():
        setattr(np, old, kind)  # which RecBole 1.2.1 expects of NumPy 1
    from recbole.config import Config  # noqa: PLC0415  after the names above
    from recbole.data import create_dataset, data_preparation  # noqa: PLC0415  after the names above
    from recbole.utils import get_model, get_trainer, init_seed  # noqa: PLC0415  after the names above

    os.chdir(folder)  # where it writes its logs
    torch.set_num_threads(1)
    options = {**OPTIONS, "epochs": n_epochs, "eval_step": n_epochs, "checkpoint_dir": str(folder)}
    options["train_neg_sample_args"] = NEGATIVE if name in ("FPMC", "TransRec") else None
    config = Config(model=name, dataset="ml-100k", config_dict=options)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    model = get_model(name)(config, train.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)
    trainer.saved_model_file = str(folder / f"{name}.pth")
    began = time.process_time()
    trainer.fit(train, valid, saved=True, show_progress=False)
    seconds = time.process_time() - began
    saved = torch.load(trainer.saved_model_file, map_location="cpu", weights_only=False)
    model.load_state_dict(saved["state_dict"])
    model.load_other_parameter(saved.get("other_parameter"))
    quality = trainer.evaluate(test, load_best_model=False)["ndcg@10"]
    model.eval()
    batches = [batch[0] for batch in test]
    with torch.no_grad():
        scores = [model.full_sort_predict(rows).view(len(rows), -1).numpy() for rows in batches]
    asked = {name: np.concatenate([rows[name].numpy() for rows in batches]) for name in ("item_id_list", "item_length")}
    users = [dataset.field2id_token["user_id"][user] for rows in batches for user in rows["user_id"].tolist()]
    np.savez(folder / f"{name}.npz", scores=np.concatenate(scores), users=np.array(users), **asked)
    told = {"epochs": n_epochs, "seconds": seconds, "ndcg": float(quality)}
    (folder / f"{name}.json").write_text(json.dumps(told), encoding="utf-8")


def compared(name: str, folder: Path) -> tuple[int, float]:
    """Return how many test histories there are, and the largest difference of any score from RecBole's own."""
    import recexplain  # noqa: PLC0415  not where RecBole fits

    recommender: Any = recexplain.load(folder / f"{name}.pth")
    noted = np.load(folder / f"{name}.npz")
    histories = [row[:n] for row, n in zip(noted["item_id_list"], noted["item_length"], strict=True)]
    found = np.concatenate(list(_scores(recommender, histories, noted["users"])))
    assert found.shape == noted["scores"].shape
    return len(histories), float(np.abs(found[:, 1:] - noted["scores"][:, 1:]).max())


def _scores(recommender: Any, histories: list[np.ndarray], users: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the scores of each batch; of a model that scores for a user, of many users in one, as RecBole asks."""
    for start in range(0, len(histories), ROWS):
        part = slice(start, start + ROWS)
        if recommender.kind.users is None:
            yield recommender.scores(histories[part])
            continue
        own = zip(histories[part], users[part], strict=True)
        inputs = [recommender.for_user(user).inputs([history]) for history, user in own]
        batch = {field: torch.cat([one[field] for one in inputs]) for field in inputs[0]}
        with torch.inference_mode():
            yield recommender.module.full_sort_predict(batch).view(len(inputs), -1).numpy()


def main() -> None:
    """Fit what is not there yet, and print a line a model."""
    folder, asked = Path(sys.argv[1]).resolve(), dict(word.split("=") for word in sys.argv[2:])
    if os.environ.get("RECBOLE_FITS"):
        for name, n_epochs in asked.items():
            fit(name, int(n_epochs), folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    print("model, epochs, seconds of the processor to fit, RecBole's test NDCG@10, histories, largest difference")
    for name, n_epochs in asked.items():
        if not (folder / f"{name}.json").exists():
            words = [sys.executable, "-P", __file__, str(folder), f"{name}={n_epochs}"]
            subprocess.run(words, env={**os.environ, "RECBOLE_FITS": "1"}, stdout=subprocess.DEVNULL, check=True)
        told = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        n, apart = compared(name, folder)
        print(f"{name}, {told['epochs']}, {told['seconds']:.0f}, {told['ndcg']:.4f}, {n}, {apart:g}", flush=True)


if __name__ == "__main__":
    main()
