# This part: what happens when a cell imports a library that shows things. Libraries are adapted when they are imported, and
# IPython.display is there also where IPython is not.
import importlib.abc
import importlib.machinery
import importlib.util
import types


def show_figures(*ignored, **options):
    """Shows the figures of matplotlib that are open, and closes them."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None or channel.is_forked:
        return
    try:
        for number in pyplot.get_fignums():
            one = pyplot.figure(number)
            if not any(one is shown for shown in shown_figures):
                show(one)
    finally:
        pyplot.close("all")


def adapt_pyplot(module):
    if "MPLBACKEND" not in os.environ:
        module.switch_backend("agg")
    module.show = show_figures


def adapt_figure(module):
    module.Figure.show = lambda self, warn=True: show(self)


def adapt_ipython(module):
    for one in (display, update_display, publish_display_data, clear_output):
        if hasattr(module, one.__name__):
            setattr(module, one.__name__, one)


def adapt_image(module):
    """Pictures are shown when they are saved, as E2B does it."""
    save = module.Image.save

    def save_and_show(self, fp, *args, **options):
        save(self, fp, *args, **options)
        if isinstance(fp, (str, os.PathLike)):
            show(self)

    module.Image.save = save_and_show
    module.Image.show = lambda self, *args, **options: show(self)


ADAPTED = {
    "IPython.core.display": adapt_ipython,
    "IPython.core.display_functions": adapt_ipython,
    "IPython.display": adapt_ipython,
    "PIL.Image": adapt_image,
    "matplotlib.figure": adapt_figure,
    "matplotlib.pyplot": adapt_pyplot,
}


class Adapter(importlib.abc.MetaPathFinder):
    """Adapts a library after it is loaded."""

    def find_spec(self, name, path=None, target=None):
        if name not in ADAPTED:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                break
        else:
            return None
        if hasattr(spec.loader, "exec_module"):
            load = spec.loader.exec_module

            def exec_module(module):
                load(module)
                ADAPTED[name](module)

            spec.loader.exec_module = exec_module
        return spec


class DisplayObject:
    """A value that has one representation."""

    media_type = "text/plain"

    def __init__(self, data=None, url=None, filename=None, metadata=None, **options):
        if data is None and filename is not None:
            with open(filename, "rb") as file:
                data = file.read()
            if not self.media_type.startswith("image/") or self.media_type == "image/svg+xml":
                data = data.decode("utf-8")
        self.data = data
        self.url = url
        self.filename = filename
        self.metadata = metadata

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {self.media_type: self.data if self.data is not None else self.url}

    def __repr__(self):
        return "<IPython.core.display.{} object>".format(type(self).__name__)


class Image(DisplayObject):
    """A picture: its bytes, a file, or a URL."""

    def __init__(self, data=None, url=None, filename=None, format=None, embed=None, width=None, height=None, **options):
        if isinstance(data, (str, os.PathLike)):
            is_url = isinstance(data, str) and data.startswith(("http://", "https://"))
            url, filename = (data, filename) if is_url else (url, data)
            data = None
        self.media_type = "image/png"
        super().__init__(data, url, filename)
        if self.data is not None and self.data[:2] == b"\xff\xd8":
            self.media_type = "image/jpeg"

    def _repr_mimebundle_(self, include=None, exclude=None):
        if self.data is not None:
            return {self.media_type: self.data}
        return {"text/html": '<img src="{}"/>'.format(self.url)}


class IFrame(DisplayObject):
    """Another page."""

    def __init__(self, src, width, height, **options):
        super().__init__('<iframe width="{}" height="{}" src="{}"></iframe>'.format(width, height, src))

    media_type = "text/html"


def display_class(name, media_type):
    return type(name, (DisplayObject,), {"media_type": media_type})


class Stand(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for IPython.display where there is no IPython. It is asked last."""

    CLASSES = {
        "HTML": "text/html",
        "Markdown": "text/markdown",
        "Latex": "text/latex",
        "Math": "text/latex",
        "SVG": "image/svg+xml",
        "JSON": "application/json",
        "Javascript": "application/javascript",
        "Pretty": "text/plain",
    }

    def find_spec(self, name, path=None, target=None):
        if name not in ("IPython", "IPython.display"):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=name == "IPython")

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.display = display
        if module.__name__ == "IPython":
            module.get_ipython = lambda: None
            module.version_info = (8, 0, 0)
            module.__version__ = "8.0.0"
            return
        for name, media_type in self.CLASSES.items():
            setattr(module, name, display_class(name, media_type))
        for one in (DisplayObject, DisplayHandle, Image, IFrame, update_display, publish_display_data, clear_output):
            setattr(module, one.__name__, one)


sys.meta_path.insert(0, Adapter())
sys.meta_path.append(Stand())
