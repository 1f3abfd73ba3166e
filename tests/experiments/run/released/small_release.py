"""A release of four people in two sessions each, with the authors' columns, for tests to write, damage and read."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.study.comparison import PAPER

IMAGES = "image_generation/data"
LLMS = "LLMs/data"
ATTEMPTS = range(1, 6)
MODELS = list(PAPER["Table 2"]["dreamsim"])[:-1]
LLM_MODELS = list(PAPER["Table 3"]["satisfaction"])[:-1]


def text_sessions(models: list[str], seed: int = 0, seeds: bool = False) -> pd.DataFrame:
    """Two people a model, two goals a person, five attempts a goal."""
    rng = np.random.default_rng(seed)
    keys = product(models, range(2), range(2), ATTEMPTS)
    rows = [
        {
            "steering_user_id": f"{model}-{person}",
            "goal_image": f"{model}-{person}-{goal}.png",
            "model": model,
            "attempt": attempt,
            "reference_prompt": "a red star",
            "prompt": f"star {attempt}",
            "dreamsim": rng.random(),
        }
        for model, person, goal, attempt in keys
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(reference_seed=7, seed=8) if seeds else frame


def blind(steering: pd.DataFrame, k: int) -> pd.DataFrame:
    """k rewrites of every first attempt of the first model."""
    first = steering[(steering["attempt"] == 1) & (steering["model"] == MODELS[0])]
    rows = first.loc[first.index.repeat(k)].reset_index(drop=True)
    rows["image_url"] = [f"{i}.png" for i in range(len(rows))]
    rows["llm_prompt"] = [f"rewrite {i}" for i in range(len(rows))]
    rows["score"] = np.random.default_rng(k).random(len(rows))
    return rows.rename(columns={"goal_image": "goal_url", "prompt": "original_prompt", "dreamsim": "user_score"})


def image_session(choices: list[int]) -> dict[str, object]:
    """A session as a literal holds it; the scale of round i is i / 10."""
    rounds = [
        {"mixture_scale": i / 10, "selected_index": choice, "generated_images": ["a", "b", "c"]}
        for i, choice in enumerate(choices, 1)
    ]
    return {"goal_prompt": "tiles", "user_prompt": "squares", "rounds": rounds}


def image_sessions() -> pd.DataFrame:
    """Two people with two sessions each."""
    sessions = [[image_session([0, 1, 2, 0]), image_session([1, 0, 0, 0])], [image_session([2, 2, 2, 2])] * 2]
    return pd.DataFrame({"steering_user_id": ["p", "q"], "all_attempts": [repr(both) for both in sessions]})


def judgements(models: list[str], goal: str, flag: str) -> pd.DataFrame:
    """Four annotators on every session of two people a model."""
    rng = np.random.default_rng(1)
    keys = product(models, range(2), range(4))
    return pd.DataFrame(
        [(f"{m}-{p}-0.png", m, f"{m}-{p}", f"judge-{j}", bool(rng.random() < 0.6)) for m, p, j in keys],
        columns=[goal, "model", "steering_user_id", "user_id", flag],
    )


def headline_attempts() -> pd.DataFrame:
    """Two people a model with two goals each; the last session lacks its first attempt."""
    frame = text_sessions(LLM_MODELS).rename(columns={"goal_image": "goal_headline"})
    before = "I will give you instructions to rewrite this news headline: 'Rain over Lords'. Only return the rewritten "
    before += "headline. Here are my instructions: "
    frame["goal_headline"] = [f"Gloom Befalls the Lord {name}\n" for name in frame["goal_headline"]]
    frame["original_headline"] = "Rain over Lords"
    frame["secret_prompt"] = f"{before}make it dark. "
    frame["user_prompt"] = [f"{before}darker, number {attempt}" for attempt in frame["attempt"]]
    frame["generated_headline"] = [f"Dark Rain {attempt}\n" for attempt in frame["attempt"]]
    return frame.drop(index=len(frame) - len(ATTEMPTS))


def write_release(folder: Path) -> Path:
    """Every file that isn't optional."""
    steering = text_sessions(MODELS)
    steering["clip_similarity"], steering["duplicate"] = steering["dreamsim"] / 2, False
    rated = judgements(MODELS, "goal_image", "rating").assign(rating=2, attempt=1)
    headlines = judgements(LLM_MODELS, "target_headline", "rating").assign(rating=[1, 4] * 20, attempt=1)
    headlines["target_headline"] = [f"Gloom Befalls the Lord {name}\n" for name in headlines["target_headline"]]
    turbo = text_sessions(["sd3.5-large-turbo"], 2, seeds=True)
    files = {
        f"{IMAGES}/steering": steering,
        f"{IMAGES}/steering_1_seed": turbo,
        f"{IMAGES}/steering_3_seeds": turbo,
        **{f"{IMAGES}/blind_steering_{k}": blind(steering, k) for k in (4, 7, 10, 20)},
        f"{IMAGES}/img_steering_rl": image_sessions(),
        f"{IMAGES}/img_steering_rl_tiles": image_sessions(),
        f"{IMAGES}/improvement": judgements(MODELS, "goal_image", "last_chosen"),
        f"{IMAGES}/pom1": judgements(MODELS, "goal_image", "ref_chosen"),
        f"{IMAGES}/pom5": judgements(MODELS, "goal_image", "ref_chosen"),
        f"{IMAGES}/sat_rating_4": rated,
        f"{LLMS}/steering_llms": headline_attempts(),
        f"{LLMS}/sat_ratings": headlines,
        f"{LLMS}/improvement": judgements(LLM_MODELS, "target_headline", "last_chosen"),
    }
    for name, frame in files.items():
        path = folder / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_csv(path, index=False)
    return folder
