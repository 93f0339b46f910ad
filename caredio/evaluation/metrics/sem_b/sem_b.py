"""`sem_b` as a module of the package `evaluate`."""

from datasets import Value

from caredio.evaluation.metrics import sem_b
from caredio.evaluation.metrics.module import metric

SemB = metric(
    sem_b, {"predictions": Value("string"), "references": [{"text": Value("string"), "weight": Value("float64")}]}
)
