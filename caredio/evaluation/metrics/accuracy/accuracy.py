"""`accuracy` as a module of the package `evaluate`."""

from datasets import Value

from caredio.evaluation.metrics import accuracy
from caredio.evaluation.metrics.module import metric

Accuracy = metric(
    accuracy,
    {"predictions": Value("string"), "references": Value("string")},
    {"predictions": Value("int64"), "references": Value("int64")},
)
