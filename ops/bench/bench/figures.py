"""Measured figures, beside what they are to reach."""

from dataclasses import dataclass
from statistics import median


@dataclass
class Figure:
    """One sample a round. A ratio is made of two loads that follow each other, so that both meet the same machine."""

    name: str
    samples: list
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def value(self):
        return median(self.samples)

    @property
    def is_met(self):
        """None where there is nothing to reach."""
        if self.at_least is not None:
            return self.value >= self.at_least
        if self.at_most is not None:
            return self.value <= self.at_most
        return None

    def as_json(self):
        return {
            "name": self.name, "unit": self.unit, "median": self.value, "least": min(self.samples),
            "most": max(self.samples), "samples": self.samples, "at_least": self.at_least, "at_most": self.at_most,
            "is_met": self.is_met,
        }


def ratios(numerators, denominators):
    """Round by round."""
    return [numerator / denominator for numerator, denominator in zip(numerators, denominators, strict=True)]


def print_table(headings, rows):
    """A Markdown table whose columns are aligned, the first to the left."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells):
        aligned = [cell.ljust(width) if not place else cell.rjust(width)
                   for place, (cell, width) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(aligned) + " |"

    print(line(headings))
    print("|" + "|".join("-" * (width + 1) + ("-" if not place else ":") for place, width in enumerate(widths)) + "|")
    for row in rows:
        print(line(row))


def written(number):
    """With three digits that matter."""
    if number == 0 or abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def figure_rows(figures):
    """Target and measured side by side."""
    rows = []
    for figure in figures:
        target = ""
        if figure.at_least is not None:
            target = f"≥ {written(figure.at_least)}"
        elif figure.at_most is not None:
            target = f"≤ {written(figure.at_most)}"
        rows.append([
            f"{figure.name}, {figure.unit}" if figure.unit else figure.name, target, written(figure.value),
            f"{written(min(figure.samples))} – {written(max(figure.samples))}",
            {True: "yes", False: "NO", None: ""}[figure.is_met],
        ])
    return rows
