"""`culturespa_similarity` as a module of the package `evaluate`."""

from datasets import Value

from caredio.evaluation.metrics import culturespa_similarity
from caredio.evaluation.metrics.module import metric

CulturespaSimilarity = metric(culturespa_similarity, {"predictions": Value("float64"), "references": Value("float64")})
