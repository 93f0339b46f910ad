"""`bits_per_byte` as a module of the package `evaluate`."""

from datasets import Value

from caredio.evaluation.metrics import bits_per_byte
from caredio.evaluation.metrics.module import metric

BitsPerByte = metric(bits_per_byte, {"predictions": Value("float64"), "references": Value("string")})
