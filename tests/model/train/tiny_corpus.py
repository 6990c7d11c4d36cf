"""Three short source files, and an encoder of bytes."""

from __future__ import annotations

from collections.abc import Sequence

from model.api import Segment

CONTROL = ("<|endoftext|>", "<file_sep>", "<issue_comment>", "<issue_start>")
VOCABULARY = 256 + len(CONTROL)

SHAPES = '''"""Shapes and what they measure."""

from __future__ import annotations


class Circle:
    """Round."""

    def __init__(self, radius: float, colour: str = "red") -> None:
        self.radius = radius
        self.colour = colour

    def area(self) -> float:
        if self.radius < 0:
            raise ValueError("negative", self.radius)
        return 3.14159 * self.radius**2


def total_area(shapes: list[Circle], *, rounded: bool = False) -> float:
    total = 0.0
    for shape in shapes:
        total += shape.area()
    return round(total, 2) if rounded else total
'''
MAIN = '''"""Prints areas. Größe zählt: ünïcödé."""

from shapes import Circle, total_area


def main(count: int) -> None:
    circles = [Circle(radius) for radius in range(count)]
    print(total_area(circles, rounded=True), len(circles))
    biggest = max(circles, key=Circle.area)
    print("größte", biggest.radius, biggest.colour)
    return total_area(circles)


def report(circles):
    for circle in circles:
        value = total_area([circle])
        print(value)
'''
SCRIPT = """import { readFile } from "./files";

export interface Options {
  depth: number;
  label?: string;
}

export function walk(options: Options, names: string[]): number {
  let count = 0;
  for (const name of names) {
    count += readFile(name, options.depth).length;
  }
  return count;
}

export const double = (value: number) => {
  const twice = value * 2;
  return twice;
};
"""


def encode(segments: Sequence[Segment]) -> list[int]:
    """One token a byte; control tokens behind them."""
    ids: list[int] = []
    for segment in segments:
        ids += [256 + CONTROL.index(segment.text)] if segment.special else list(segment.text.encode())
    return ids
