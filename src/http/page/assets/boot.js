// Loads the page's module, as often as it takes. A browser drops whatever it is loading when the network of its host
// changes, and on a host of containers it changes whenever one of them starts or ends.

const NAME = "sandglass.tries";
const [MOST, FIRST_WAIT] = [8, 150];

const tries = Number(sessionStorage.getItem(NAME) ?? 0);
try {
  await import(document.body.dataset.module);
  // A style sheet whose request was dropped is not requested again: it exists, but is empty.
  const isEmpty = ({ sheet }) => !sheet || sheet.cssRules.length === 0;
  if ([...document.querySelectorAll("link[rel=stylesheet]")].some(isEmpty)) throw new Error("a style is missing");
  sessionStorage.removeItem(NAME);
  document.body.dataset.loaded = "";
} catch (error) {
  if (tries >= MOST) {
    sessionStorage.removeItem(NAME);
    document.body.prepend(`This page could not be loaded: ${error.message}. Load it again.`);
    throw error;
  }
  sessionStorage.setItem(NAME, String(tries + 1));
  setTimeout(() => location.reload(), FIRST_WAIT * 2 ** Math.min(tries, 4));
}
