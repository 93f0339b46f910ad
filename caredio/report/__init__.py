"""What a run looks like: its figures, and `report.html`.

Each figure's module has `figure`, which makes it in a block of `plots.style`, and `draw`, which writes it as a PNG and
an SVG.
"""
