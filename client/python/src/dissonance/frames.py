"""pandas, where it is installed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd


def frame_of(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A DataFrame of rows that share their keys."""
    frame: pd.DataFrame = _pandas().DataFrame([dict(row) for row in rows])
    return frame


def frame_of_file(name: str, data: bytes) -> pd.DataFrame:
    """A DataFrame of a .csv, .jsonl or .json file; nested fields as a.b."""
    pandas = _pandas()
    frame: pd.DataFrame
    if name.endswith(".csv"):
        # "None" and "NA" are text that people write, not missing numbers.
        frame = pandas.read_csv(io.BytesIO(data), keep_default_na=False, na_values=[""])
    elif name.endswith(".jsonl"):
        # Not splitlines(): text may hold other line breaks than "\n".
        lines = data.decode("utf-8").split("\n")
        frame = pandas.json_normalize([json.loads(line) for line in lines if line])
    elif name.endswith(".json"):
        frame = pandas.json_normalize(json.loads(data))
    else:
        raise InvalidArgument(f"{name}: only .csv, .jsonl and .json files make a frame")
    return frame


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "frames need pandas: pip install pandas, or this package as "
            "dissonance[frames]"
        ) from error
    return pandas
