"""`margin` as a module of the package `evaluate`."""

from datasets import Value

from caredio.evaluation.metrics import margin
from caredio.evaluation.metrics.module import metric

Margin = metric(margin, {"predictions": Value("float64"), "references": [Value("float64")]})
