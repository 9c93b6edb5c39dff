// The API key: asked for when one is needed, and kept for this tab only.

import { byId, setText } from "./dom.js";

const NAME = "sandglass.key";
let asking = null;

export const key = () => sessionStorage.getItem(NAME);

export function forget() {
  sessionStorage.removeItem(NAME);
}

/** Asks until `check(key)` says that it is the right one; whoever asks meanwhile waits for the same answer. */
export function ask(check) {
  asking ??= new Promise((resolve) => {
    const [dialog, form, input, error] = ["key", "key-form", "key-value", "key-error"].map(byId);
    const submitted = async (event) => {
      event.preventDefault();
      const value = input.value.trim();
      setText(error, "");
      const refusal = await check(value);
      if (refusal) {
        setText(error, refusal);
        input.select();
        return;
      }
      sessionStorage.setItem(NAME, value);
      input.value = "";
      form.removeEventListener("submit", submitted);
      dialog.removeEventListener("cancel", stay);
      dialog.close();
      asking = null;
      resolve(value);
    };
    // Without a key there is nothing behind it to go back to.
    const stay = (event) => event.preventDefault();
    form.addEventListener("submit", submitted);
    dialog.addEventListener("cancel", stay);
    if (!dialog.open) dialog.showModal();
    input.focus();
  });
  return asking;
}

/** As a subprotocol's name: a browser can set no header on a websocket. */
export function protocols() {
  const value = key();
  if (value === null) return [PROTOCOL];
  const bytes = String.fromCharCode(...new TextEncoder().encode(value));
  const encoded = btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  return [PROTOCOL, `sandglass.key.${encoded}`];
}

const PROTOCOL = "sandglass.v1";
