"""PixelProse's captions as tasks: ``python -m experiments.pixelprose file=outputs/pixelprose.csv``, streamed once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.run import ProgramOptions, Run, command, option, say
from steer_env.compatibility import reason
from steer_env.files import write_atomically
from steer_env.humans.prompts import CHARACTERS

_LICENCE = """The goal prompts of {file} are captions of PixelProse (Singla et al., 2024, arXiv:2406.10328;
huggingface.co/datasets/tomg-group-umd/pixelprose), which Gemini 1.0 Pro Vision wrote, published under CC BY 4.0. They
were shortened by their opening words and by blanks; {prompts}
The licence covers the captions, not the images that they describe.
"""
_OPENING = re.compile(r"^\s*this image displays:?\s*", re.IGNORECASE)
_SENTENCE = re.compile(r"^.*?[.!?](?=\s|$)")
_HARMFUL = ("toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat", "sexual_explicit")
FIRST, ALT = "first-sentence", "original"


@dataclass
class PixelProseOptions(ProgramOptions):
    """Write captions of PixelProse into a file of tasks, for env.suite=csv:FILE.

    A goal's prompt is a whole caption. What a person would first write isn't known; in its place stands the caption's
    first sentence, which leaves the rest open, or the text that stood beside the image on the web. Captions that come
    again, that hold letters which users can't write, or that may hurt, are left out.

    Args:
        file: receives the tasks; the licence goes into a file beside it.
        tasks: how many, from the first that can be used.
        source: a data set at Hugging Face's hub, streamed by the package datasets; or a parquet file of its format.
        split: of the data set.
        prompt: first-sentence; or original, the text beside the image.
        most_harmful: greatest score of toxicity, threat and their like that a caption may have; 1 for any, also
            one without scores.
    """

    file: str = "outputs/pixelprose.csv"
    tasks: int = option(1000, least=1)
    source: str = "tomg-group-umd/pixelprose"
    split: str = "train"
    prompt: str = option(FIRST, among=(FIRST, ALT))
    most_harmful: float = option(0.2, least=0, most=1)


@command(PixelProseOptions)
def main(options: PixelProseOptions, run: Run) -> None:
    """Read until there are enough, and write them at once."""
    place = Path(options.file).expanduser()
    if place.exists():
        raise ValueError(f"{place} exists: give another file, since tasks of a suite never change")
    pairs = list(islice(chosen(rows(options), options.prompt, options.most_harmful), options.tasks))
    if not pairs:
        raise ValueError(f"{options.source} holds no captions that can be used")
    write_atomically(place, pd.DataFrame(pairs, columns=["goal_prompt", "prompt"]).to_csv(index=False))
    stands = {FIRST: "the prompts are their first sentences.", ALT: "the prompts are the web's alternative texts."}
    licence = place.with_name(f"{place.name}.licence.txt")
    write_atomically(licence, _LICENCE.format(file=place.name, prompts=stands[options.prompt]))
    short = f", fewer than the {options.tasks} wanted" if len(pairs) < options.tasks else ""
    say(f"{len(pairs)} tasks{short} in {place}, their licence (CC BY 4.0) in {licence}: env.suite=csv:{place}")


def rows(options: PixelProseOptions) -> Iterable[Mapping[str, Any]]:
    """Records of the data set, as they come; a file, a package or a hub that isn't there is named."""
    if options.source.endswith(".parquet"):
        local = Path(options.source).expanduser()
        if not local.is_file():
            raise FileNotFoundError(f"no file of captions at {options.source}")
        return _parquet(local)
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ImportError("a stream needs a package that isn't here: pip install 'steer-env[pixelprose]'") from error
    try:
        stream: Iterable[Mapping[str, Any]] = load_dataset(options.source, split=options.split, streaming=True)
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise ConnectionError(f"{options.source} can't be streamed ({why}): source may be a parquet file") from error
    return stream


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    from pyarrow import parquet

    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=256):
            yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} can't be read as parquet: {reason(error)}") from error


def chosen(records: Iterable[Mapping[str, Any]], prompt: str, most_harmful: float) -> Iterator[tuple[str, str]]:
    """Goal prompt and prompt of each record that can be used, none twice; each must have the columns that are read."""
    known, letters = set(), set(CHARACTERS)
    needed, scored = ["vlm_caption", *(["original_caption"] if prompt == ALT else [])], most_harmful < 1
    for record in records:
        if missing := [name for name in (*needed, *(_HARMFUL if scored else ())) if name not in record]:
            every = "; most_harmful=1 takes all captions" if missing[0] in _HARMFUL else ""
            raise ValueError(f"the source has no column {missing[0]!r}{every}; it has: {', '.join(record)}")
        scores = [record[score] for score in _HARMFUL if scored]
        # What wasn't scored may be anything.
        if not all(isinstance(score, float | int) and 0 <= score <= most_harmful for score in scores):
            continue
        if not all(isinstance(record.get(column), str) for column in needed):
            continue
        goal = " ".join(_OPENING.sub("", record["vlm_caption"]).split())
        first = _SENTENCE.match(goal)
        written = " ".join(record["original_caption"].split()) if prompt == ALT else first and first[0]
        if not written or written == goal or goal in known or not set(written + goal) <= letters:
            continue
        known.add(goal)
        yield goal, written


if __name__ == "__main__":
    main()
