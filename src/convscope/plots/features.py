"""What do maps after every block look like?"""

import numpy as np
from matplotlib.figure import Figure

from convscope.diagnostics.features import Features

from . import style

MOST_BLOCKS, MOST_CHANNELS = 16, 3


def draw(result: Features) -> Figure:
    """A column per block; for each image its mean map and some channels, each from its own darkest to brightest.

    With several images at most three channels each are drawn, and at most 16 blocks.
    """
    images, blocks, channels = len(result.positions), len(result.blocks), result.channels.shape[1]
    columns = np.unique(np.linspace(0, blocks - 1, min(blocks, MOST_BLOCKS)).round().astype(int))
    shown = channels if images == 1 else min(channels, MOST_CHANNELS)
    figure, axes = style.panels(images * (1 + shown), 1 + len(columns), width=0.95, height=0.95)
    grid = np.asarray(axes).reshape(images, 1 + shown, 1 + len(columns))
    for n in range(images):
        title = f"{result.labels[n]}\nimage {result.positions[n]}"
        style.photo(grid[n, 0, 0], result.pixels[n], title)
        style.hide(list(grid[n, 1:, 0]))
        for column, b in enumerate(columns, start=1):
            depth, height, width = result.shapes[b]
            head = f"{result.blocks[b]}\n{depth}x{height}x{width}" if n == 0 else ""
            style.picture(
                grid[n, 0, column], result.means[n, b, :height, :width], head, cmap=style.SEQUENTIAL
            )
            for row, channel in enumerate(result.channels[b, :shown]):
                cell = grid[n, 1 + row, column]
                if channel < 0:
                    style.hide([cell])
                else:
                    picture = result.maps[n, b, row, :height, :width]
                    style.picture(cell, picture, f"channel {channel}", cmap=style.SEQUENTIAL)
    drawn = "" if len(columns) == blocks else f", {len(columns)} of {blocks} blocks"
    figure.suptitle(
        f"{result.subject}, {result.split}\nmaps after every block{drawn}\nfirst row: mean of the channels",
        fontsize=8,
    )
    return figure
