// The API key, which is requested when it is needed and kept for this tab only.

import { byId, setText } from "./dom.js";

const NAME = "sandglass.key";
let asking = null;

export const key = () => sessionStorage.getItem(NAME);

export function forget() {
  sessionStorage.removeItem(NAME);
}

/** Asks until `check(key)` accepts the key. Concurrent callers wait for the same key. */
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
    // The dialog cannot be closed, since nothing works without a key.
    const stay = (event) => event.preventDefault();
    form.addEventListener("submit", submitted);
    dialog.addEventListener("cancel", stay);
    if (!dialog.open) dialog.showModal();
    input.focus();
  });
  return asking;
}

/** The key as the name of a subprotocol, since a browser cannot set headers for a websocket. */
export function protocols() {
  const value = key();
  if (value === null) return [PROTOCOL];
  const bytes = String.fromCharCode(...new TextEncoder().encode(value));
  const encoded = btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  return [PROTOCOL, `sandglass.key.${encoded}`];
}

const PROTOCOL = "sandglass.v1";
