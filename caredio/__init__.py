"""CAReDiO: small, right datasets that align language models to a culture.

    import caredio

    ranked = caredio.build("runs/first", ["china", "united_kingdom"], ["food"], per_topic=3)
    ranked = caredio.select("runs/own", "answers.parquet", budget=200)

The rooms are packages of their own: `synthesis`, `selection`, `training`; `features` says what every column means.
"""

from caredio.errors import CaredioError, EndpointError, InputError
from caredio.verbs import build, calibrate, evaluate, publish, select, synthesize

__all__ = [
    "CaredioError",
    "EndpointError",
    "InputError",
    "build",
    "calibrate",
    "evaluate",
    "publish",
    "select",
    "synthesize",
]
