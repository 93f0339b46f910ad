"""`all_right` as a module of the package `evaluate`."""

from datasets import Value

from caredio.evaluation.metrics import all_right
from caredio.evaluation.metrics.module import metric

AllRight = metric(all_right, {"predictions": [Value("bool")], "references": [Value("bool")]})
