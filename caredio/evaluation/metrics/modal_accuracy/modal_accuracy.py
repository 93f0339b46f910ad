"""`modal_accuracy` as a module of the package `evaluate`."""

from datasets import Value

from caredio.evaluation.metrics import modal_accuracy
from caredio.evaluation.metrics.module import metric

ModalAccuracy = metric(modal_accuracy, {"predictions": [Value("float64")], "references": [Value("float64")]})
