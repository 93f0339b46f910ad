"""What `caredio benchmarks` prints: the declarations that `benchmark.load()` gives in Python."""

from __future__ import annotations

from caredio.evaluation.benchmark import SAMPLE, Benchmark, load, named


def show() -> str:
    """The benchmarks that come with caredio, as plain text: a block of facts for each."""
    return "\n\n".join(map(_block, load().values()))


def _block(benchmark: Benchmark) -> str:
    metrics = {metric.name: metric.title for variant in benchmark.variants for metric in benchmark.metrics(variant)}
    facts = {
        "asked as": ", ".join(named(benchmark.name, variant) for variant in benchmark.variants),
        "a question has": f"{', '.join(benchmark.kind.columns)} (kind {benchmark.kind.name})",
        "metrics": ", ".join(f"{name} ({title})" if title != name else name for name, title in metrics.items()),
        "knowing nothing": ", ".join(f"{name} {100 * value:.4g} %" for name, value in benchmark.chance.items()),
        "data": _data(benchmark),
        "licence": benchmark.licence,
        "real data": "" if benchmark.real else "not run on it",
        "note": benchmark.notes,
    }
    width = max(map(len, facts)) + 4
    lines = [f"  {name:{width}}{fact}" for name, fact in facts.items() if fact]
    return "\n".join([f"{benchmark.name}: {benchmark.title}", *lines])


def _data(benchmark: Benchmark) -> str:
    """Where it lies, and how another copy is named."""
    hub = f"{benchmark.hub} of the Hub, or " if benchmark.hub else ""
    sample = f", or the word {SAMPLE}" if benchmark.sample else ""
    return (
        f"{hub}{benchmark.file}{sample}: --benchmark-data {benchmark.source}=FILE, $CAREDIO_{benchmark.source.upper()}"
    )
