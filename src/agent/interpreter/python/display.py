# This part: how values are shown. A value has a bundle: its representations by media type.
import base64
import io
import math
import sys
import traceback

METHODS = {
    "text/html": "_repr_html_",
    "text/markdown": "_repr_markdown_",
    "image/svg+xml": "_repr_svg_",
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "application/pdf": "_repr_pdf_",
    "text/latex": "_repr_latex_",
    "application/json": "_repr_json_",
    "application/javascript": "_repr_javascript_",
}

# The fields of a result, by media type. Other types are extra.
FIELDS = {
    "text/plain": "text",
    "text/html": "html",
    "text/markdown": "markdown",
    "image/svg+xml": "svg",
    "image/png": "png",
    "image/jpeg": "jpeg",
    "application/pdf": "pdf",
    "text/latex": "latex",
    "application/json": "json",
    "application/javascript": "javascript",
    "e2b/data": "data",
    "e2b/chart": "chart",
}


def plain(value):
    """A value as JSON has it: numbers of other libraries are numbers, times and all else are texts, NaN is null."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "isoformat"):
        # A time that is missing is not equal to itself.
        return value.isoformat() if value == value else None
    if hasattr(value, "tolist"):
        listed = value.tolist()
        return str(value) if type(listed) is type(value) else plain(listed)
    return str(value)


def is_a(value, module, name):
    """Whether a value is of a class of a library, without importing it."""
    classes = type(value).__mro__
    return any(one.__name__ == name and one.__module__.split(".")[0] == module for one in classes)


def represent(value, method):
    """Calls one method of a value; None if it has none, or none for this value."""
    # A class has the methods of its instances.
    if isinstance(value, type):
        return None
    try:
        found = getattr(value, method, None)
        if not callable(found):
            return None
        shown = found()
    except NotImplementedError:
        return None
    except Exception:
        traceback.print_exc()
        return None
    # Some give their metadata, too.
    return shown[0] if isinstance(shown, tuple) else shown


def bundle(value):
    """All representations of a value."""
    shown = {}
    if is_a(value, "matplotlib", "Figure"):
        shown.update(figure(value))
    if isinstance(value, (list, dict)):
        try:
            json.dumps(value, allow_nan=False)
            shown["application/json"] = value
        except (TypeError, ValueError, RecursionError):
            pass
    if is_a(value, "pandas", "DataFrame"):
        try:
            columns = value.to_dict(orient="list")
            shown["e2b/data"] = {str(name): plain(column) for name, column in columns.items()}
        except Exception:
            traceback.print_exc()
    for media_type, method in METHODS.items():
        if media_type not in shown:
            representation = represent(value, method)
            if representation is not None:
                shown[media_type] = representation
    if not isinstance(value, type) and callable(getattr(value, "_repr_mimebundle_", None)):
        try:
            given = value._repr_mimebundle_(include=None, exclude=None)
        except Exception:
            traceback.print_exc()
        else:
            given = given[0] if isinstance(given, tuple) else given
            shown.update(given or {})
    if "text/plain" not in shown:
        try:
            shown["text/plain"] = repr(value)
        except Exception:
            shown["text/plain"] = traceback.format_exc()
    return shown


def figure(value):
    """The picture of a matplotlib figure, and its data."""
    picture = io.BytesIO()
    shown = {}
    try:
        value.savefig(picture, format="png", bbox_inches="tight")
        shown["image/png"] = picture.getvalue()
    except Exception:
        traceback.print_exc()
        return shown
    try:
        found = chart(value)
    except Exception:
        # A chart is an extra that not every figure has.
        found = None
    if found:
        shown["e2b/chart"] = found
    return shown


def encode(value):
    """Bytes are told as base64."""
    return base64.b64encode(value).decode("ascii") if isinstance(value, (bytes, bytearray)) else value


def unquoted(text):
    """The text of a string's repr."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def tell_result(shown, is_main):
    """Sends a bundle as a result."""
    sys.stdout.flush()
    sys.stderr.flush()
    result = {"type": "result"}
    extra = {}
    for media_type, value in shown.items():
        value = plain(encode(value))
        if media_type == "text/plain":
            value = unquoted(str(value))
        if media_type in FIELDS:
            result[FIELDS[media_type]] = value
        else:
            extra[media_type] = value
    result["extra"] = extra
    result["is_main_result"] = is_main
    if channel.is_forked or channel.send(result):
        return
    message = "a result of more than {} MB is not passed on; its text is cut".format(LINE_BOUND >> 20)
    print(message, file=sys.stderr)
    text = str(result.get("text", ""))[: LINE_BOUND >> 6]
    channel.send({"type": "result", "text": text, "extra": {}, "is_main_result": is_main})


# The figures that a cell has shown, which are not shown again at its end.
shown_figures = []


def show(value, is_main=False):
    """Shows a value in the way that it wants to be shown."""
    if is_a(value, "matplotlib", "Figure"):
        shown_figures.append(value)
    own = None if isinstance(value, type) else getattr(value, "_ipython_display_", None)
    if callable(own):
        own()
    else:
        tell_result(bundle(value), is_main)


class DisplayHandle:
    """What display(..., display_id=...) returns: shows other values. What was shown stays."""

    def __init__(self, display_id=None):
        self.display_id = display_id

    def display(self, value, **options):
        display(value, **options)

    update = display


def display(*values, include=None, exclude=None, metadata=None, transient=None, display_id=None, raw=False, clear=False, **options):
    """Shows values; with raw=True each is a bundle of representations by media type."""
    for value in values:
        if raw:
            tell_result(dict(value), False)
            continue
        if not include and not exclude:
            show(value)
            continue
        shown = bundle(value)
        kept = {name: item for name, item in shown.items() if (not include or name in include) and name not in (exclude or ())}
        tell_result(kept, False)
    return DisplayHandle(display_id) if display_id else None


def update_display(value, *, display_id=None, **options):
    display(value, **options)


def publish_display_data(data, metadata=None, source=None, **options):
    tell_result(dict(data), False)


def clear_output(wait=False):
    """What was told stays told."""
