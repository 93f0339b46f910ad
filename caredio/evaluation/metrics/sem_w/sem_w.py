"""`sem_w` as a module of the package `evaluate`."""

from datasets import Value

from caredio.evaluation.metrics import sem_w
from caredio.evaluation.metrics.module import metric

SemW = metric(
    sem_w, {"predictions": Value("string"), "references": [{"text": Value("string"), "weight": Value("float64")}]}
)
