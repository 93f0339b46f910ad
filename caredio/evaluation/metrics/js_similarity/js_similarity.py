"""`js_similarity` as a module of the package `evaluate`."""

from datasets import Value

from caredio.evaluation.metrics import js_similarity
from caredio.evaluation.metrics.module import metric

JsSimilarity = metric(js_similarity, {"predictions": [Value("float64")], "references": [Value("float64")]})
