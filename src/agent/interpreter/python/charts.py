# This part: the data of a matplotlib figure, in the shape that E2B's clients know. What is no chart of a known kind is
# "unknown", and a figure of several is a "superchart".
import re

SCALES = ("linear", "log", "symlog", "logit", "function", "functionlog", "asinh")


def chart(figure):
    """The data of a figure; None if it has no axes."""
    charts = [chart_of(axes) for axes in figure.axes]
    if len(charts) < 2:
        return charts[0] if charts else None
    title = figure._suptitle.get_text() if figure._suptitle else None
    return {"type": "superchart", "title": title, "elements": charts}


def chart_of(axes):
    """The data of one pair of axes."""
    kind, elements = kind_of(axes)
    told = {"type": kind, "title": axes.get_title() or None, "elements": elements}
    if kind == "unknown" or kind == "pie":
        return told
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        label = axis.get_label().get_text() or None
        unit = re.search(r"\((.+?)\)|\[(.+?)\]", label or "")
        told[name + "_label"] = label
        told[name + "_unit"] = unit and (unit.group(1) or unit.group(2))
        if kind in ("line", "scatter"):
            told[name + "_ticks"] = [coordinate(tick, axis) for tick in axis.get_ticklocs()]
            told[name + "_tick_labels"] = [tick.get_text() for tick in axis.get_ticklabels()]
            told[name + "_scale"] = scale(axis)
    return told


def kind_of(axes):
    """What is drawn, and its elements."""
    lines = list(axes.lines)
    wedges = [patch for patch in axes.patches if type(patch).__name__ == "Wedge"]
    bars = [one for one in axes.containers if type(one).__name__ == "BarContainer"]
    points = [one for one in axes.collections if type(one).__name__ == "PathCollection"]
    boxes = [patch for patch in axes.patches if type(patch).__name__ == "PathPatch"]
    if wedges and not lines:
        return "pie", [slice_of(wedge) for wedge in wedges]
    if bars and not lines and not points:
        return "bar", bar_elements(axes, bars)
    if points and not lines:
        return "scatter", [point_element(one, one.get_offsets(), axes) for one in points]
    if lines and not axes.patches and not points:
        boxes = box_elements(lines, axes)
        if boxes:
            return "box_and_whisker", boxes
        # Lines of the grid and of limits are drawn in units of the axes.
        drawn = [line for line in lines if line.get_transform() == axes.transData]
        return "line", [point_element(line, list(zip(line.get_xdata(), line.get_ydata())), axes) for line in drawn]
    if boxes:
        found = box_elements(lines, axes, boxes)
        if found:
            return "box_and_whisker", found
    return "unknown", []


def scale(axis):
    kind = type(axis.get_converter() if hasattr(axis, "get_converter") else axis.converter).__name__
    if "Date" in kind:
        return "datetime"
    if "Category" in kind:
        return "categorical"
    name = axis.get_scale()
    return name if name in SCALES else "unknown"


def coordinate(value, axis):
    """A place on an axis, as it was given: a time is a text."""
    if scale(axis) == "datetime" and not hasattr(value, "isoformat"):
        try:
            import matplotlib.dates

            return matplotlib.dates.num2date(float(value)).isoformat()
        except (TypeError, ValueError):
            return plain(value)
    return plain(value)


def point_element(artist, points, axes):
    told = [[coordinate(x, axes.xaxis), coordinate(y, axes.yaxis)] for x, y in points]
    return {"label": str(artist.get_label()), "points": told}


def slice_of(wedge):
    return {"label": wedge.get_label(), "angle": abs(round(float(wedge.theta2 - wedge.theta1), 4)), "radius": float(wedge.r)}


def bar_elements(axes, bars):
    """The bars: each has a label, a value, and the group that it is drawn with."""
    patches = [patch for one in bars for patch in one]
    is_upright = bars[0].orientation != "horizontal" if bars[0].orientation else True
    labels = [tick.get_text() for tick in (axes.xaxis if is_upright else axes.yaxis).get_ticklabels()]
    elements = []
    for one in bars:
        named = labels if len(labels) == len(one) else [""] * len(one)
        for label, patch in zip(named, one):
            middle = patch.get_x() + patch.get_width() / 2 if is_upright else patch.get_y() + patch.get_height() / 2
            value = patch.get_height() if is_upright else patch.get_width()
            elements.append({"label": label or format(middle, "g"), "group": str(one.get_label()), "value": plain(float(value))})
    return elements if patches else []


def box_elements(lines, axes, patches=()):
    """The boxes of a box plot, which are drawn as lines: a box of five points unless it is a patch, two whiskers, two caps, a
    median, and a line of the points beyond, which has no line."""
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    outlines = [patch.get_path().vertices for patch in patches]
    outlines += [list(zip(line.get_xdata(), line.get_ydata())) for line in lines if len(line.get_xdata()) == 5 and line.get_linestyle() != "None"]
    outlines = [outline for outline in outlines if tuple(outline[0]) == tuple(outline[4])]
    elements = []
    for number, outline in enumerate(outlines):
        left, right = min(x for x, _ in outline[:5]), max(x for x, _ in outline[:5])
        low, high = min(y for _, y in outline[:5]), max(y for _, y in outline[:5])
        middle = (left + right) / 2
        ends, medians, beyond = [low, high], [], []
        for line in lines:
            xs, ys = list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))
            if not xs or not all(left - 1e-9 <= x <= right + 1e-9 for x in xs):
                continue
            if line.get_linestyle() == "None":
                beyond += ys
            elif len(xs) == 2 and xs[0] == xs[1] == middle:
                ends += ys
            elif len(xs) == 2 and ys[0] == ys[1] and low <= ys[0] <= high and abs(xs[1] - xs[0] - (right - left)) < 1e-9:
                medians += ys[:1]
        if not medians:
            return []
        elements.append(
            {
                "label": labels[number] if number < len(labels) else "",
                "min": float(min(ends)),
                "first_quartile": float(low),
                "median": medians[0],
                "third_quartile": float(high),
                "max": float(max(ends)),
                "outliers": beyond,
            }
        )
    return elements
