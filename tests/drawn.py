"""What stands on a figure, for tests to read."""


def words(figure):
    """Labels of the legends."""
    return [t.get_text() for legend in figure.legends for t in legend.get_texts()]


def points(ax, label):
    """Coordinates of the marks that the legend calls by `label`."""
    (line,) = [line for line in ax.lines if line.get_label().startswith(label)]
    return line.get_xdata(), line.get_ydata()
