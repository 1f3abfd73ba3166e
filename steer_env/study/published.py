"""What the paper prints, as it prints it: value, and standard error in parentheses where there is one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NUMBER = re.compile(r"(?P<value>[\d,]+(?:\.(?P<digits>\d+))?)(?P<percent>%?)(?: \((?P<error>[\d.]+)%?\))?")


@dataclass(frozen=True)
class Printed:
    """A printed number, its error, and the digits that it was rounded to.

    >>> Printed.parse("54.7% (3.6%)").agrees(0.5471)
    True
    """

    value: float
    error: float | None
    digits: int
    percent: bool

    @staticmethod
    def parse(text: str) -> Printed:
        """
        Raises:
            ValueError: not written as the paper does.
        """
        found = _NUMBER.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} isn't a number as the paper prints it, such as '0.52 (0.01)' or '62%'")
        scale = 100 if found["percent"] else 1
        error = float(found["error"]) / scale if found["error"] else None
        value = float(found["value"].replace(",", "")) / scale
        return Printed(value, error, len(found["digits"] or ""), bool(found["percent"]))

    def agrees(self, ours: float) -> bool:
        """Does our value round to the printed one?"""
        return self._rounded(ours) == self._rounded(self.value)

    def error_agrees(self, ours: float) -> bool:
        """Does our error round to the printed one?"""
        return self.error is not None and self._rounded(ours) == self._rounded(self.error)

    def _rounded(self, value: float) -> str:
        return f"{value * (100 if self.percent else 1):.{self.digits}f}"


Rows = Mapping[str, str]

COUNTS: Rows = {
    "goal images": "554",
    "goal and generated image pairs": "2,770",
    "people who steered image models": "277",
    "goal headlines": "118",
    "people in the LLM study, by survey": "132",
    "judgements of headlines": "2,030",
}
"""Section 3, Setup, and Appendix B.2."""

TABLE_1: Mapping[str, Rows] = {
    "avg. change": {
        "text, PixelProse": "0.025 (0.010)",
        "image, random proposals, PixelProse": "0.040 (0.007)",
        "image, learned proposals, PixelProse": "0.053 (0.008)",
        "text, tiles": "0.029 (0.015)",
        "image, random proposals, tiles": "0.053 (0.005)",
        "image, learned proposals, tiles": "0.072 (0.007)",
    },
    "% improve": {
        "text, PixelProse": "54.7% (3.6%)",
        "image, random proposals, PixelProse": "62.0% (4.9%)",
        "image, learned proposals, PixelProse": "74.2% (5.4%)",
        "text, tiles": "56.2% (5.1%)",
        "image, random proposals, tiles": "66.8% (2.6%)",
        "image, learned proposals, tiles": "70.7% (3.0%)",
    },
}

TABLE_2: Mapping[str, Rows] = {
    "dreamsim": {
        "dall-e-2": "0.52 (0.01)",
        "dall-e-3": "0.62 (0.01)",
        "flux-dev": "0.70 (0.01)",
        "flux-1.1-pro-ultra": "0.66 (0.01)",
        "ideogram-v2-turbo": "0.66 (0.01)",
        "photon-flash": "0.68 (0.01)",
        "sd3-large": "0.68 (0.01)",
        "sd3.5-medium": "0.67 (0.01)",
        "sd3.5-large-turbo": "0.65 (0.01)",
        "sd3.5-large": "0.67 (0.01)",
        "average": "0.65 (0.00)",
    },
    "clip_similarity": {
        "dall-e-2": "0.75 (0.01)",
        "dall-e-3": "0.78 (0.01)",
        "flux-dev": "0.83 (0.01)",
        "flux-1.1-pro-ultra": "0.82 (0.01)",
        "ideogram-v2-turbo": "0.83 (0.01)",
        "photon-flash": "0.85 (0.01)",
        "sd3-large": "0.84 (0.01)",
        "sd3.5-medium": "0.81 (0.01)",
        "sd3.5-large-turbo": "0.82 (0.01)",
        "sd3.5-large": "0.82 (0.01)",
        "average": "0.82 (0.00)",
    },
}

TABLE_3: Mapping[str, Rows] = {
    "satisfaction": {
        "claude-3-5-sonnet-20241022": "2.54 (0.06)",
        "gemini-1.5-flash": "2.59 (0.07)",
        "gemini-2.0-flash-exp": "2.48 (0.07)",
        "gpt-4o": "2.65 (0.07)",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo": "2.48 (0.08)",
        "average": "2.54 (0.03)",
    },
    "very satisfied": {
        "claude-3-5-sonnet-20241022": "0.15 (0.02)",
        "gemini-1.5-flash": "0.21 (0.03)",
        "gemini-2.0-flash-exp": "0.17 (0.03)",
        "gpt-4o": "0.17 (0.03)",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo": "0.19 (0.03)",
        "average": "0.18 (0.38)",
    },
    "improvement": {
        "claude-3-5-sonnet-20241022": "0.59 (0.06)",
        "gemini-1.5-flash": "0.45 (0.06)",
        "gemini-2.0-flash-exp": "0.44 (0.05)",
        "gpt-4o": "0.40 (0.06)",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo": "0.42 (0.06)",
        "average": "0.47 (0.03)",
    },
}

TABLE_5: Mapping[str, Rows] = {
    "choosing seed": {
        "attempt 1": "0.663 (0.017)",
        "attempt 2": "0.671 (0.017)",
        "attempt 3": "0.665 (0.019)",
        "attempt 4": "0.682 (0.018)",
        "attempt 5": "0.690 (0.017)",
        "average": "0.674 (0.008)",
    },
    "not choosing seed": {
        "attempt 1": "0.639 (0.008)",
        "attempt 2": "0.661 (0.007)",
        "attempt 3": "0.683 (0.007)",
        "attempt 4": "0.684 (0.007)",
        "attempt 5": "0.695 (0.007)",
        "average": "0.672 (0.003)",
    },
}

TABLE_6: Mapping[str, Rows] = {
    "without guidance": {
        "attempt 1": "0.638 (0.020)",
        "attempt 2": "0.662 (0.020)",
        "attempt 3": "0.676 (0.015)",
        "attempt 4": "0.681 (0.015)",
        "attempt 5": "0.693 (0.015)",
        "average": "0.670 (0.008)",
    },
    "choosing guidance": {
        "attempt 1": "0.664 (0.018)",
        "attempt 2": "0.677 (0.017)",
        "attempt 3": "0.667 (0.017)",
        "attempt 4": "0.703 (0.015)",
        "attempt 5": "0.682 (0.017)",
        "average": "0.679 (0.007)",
    },
}

TABLE_7: Mapping[str, Rows] = {
    "regular users": {
        "attempt 1": "0.631 (0.019)",
        "attempt 2": "0.636 (0.020)",
        "attempt 3": "0.669 (0.018)",
        "attempt 4": "0.654 (0.019)",
        "attempt 5": "0.670 (0.016)",
        "average": "0.652 (0.008)",
    },
    "prompt engineers": {
        "attempt 1": "0.767 (0.014)",
        "attempt 2": "0.772 (0.010)",
        "attempt 3": "0.777 (0.014)",
        "attempt 4": "0.772 (0.014)",
        "attempt 5": "0.741 (0.025)",
        "average": "0.766 (0.007)",
    },
}

FIGURE_3_JUDGED: Rows = {"improvement": "62%", "POM-1": "0.54"}
"""Section 3, Results; POM-5 and the values by model stand in the figure only."""

FIGURE_3_BLIND: Mapping[int, str] = {4: "52%", 20: "87%"}
"""Section 3; by the number of rewrites."""

SATISFACTION: Rows = {
    "unsatisfied or very unsatisfied": "60%",
    "very unsatisfied": "27%",
    "very satisfied": "10%",
    "very satisfied, headlines": "17%",
}
"""Section 3, Results, and Appendix B.2."""
