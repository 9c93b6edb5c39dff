// Elements. Strings are always inserted as text and never become markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An element with attributes; `on…` are listeners, null and false leave an attribute out. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Writes only changes: thousands of cells are checked, few change. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setClass(node, name) {
  if (node.className !== name) node.className = name;
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

const ICONS = {
  turn: "M4 2h8M4 14h8M5 2c0 3 1.200 4.300 3 6-1.800 1.700-3 3-3 6M11 2c0 3-1.200 4.300-3 6 1.800 1.700 3 3 3 6",
  pause: "M5.500 3v10M10.500 3v10",
  resume: "M5 3l8 5-8 5z",
  end: "M4 4l8 8M12 4l-8 8",
  copy: "M6 5.500V3h7v8h-2.500M3 5.500h7.500V13H3z",
};

export function icon(name) {
  const path = svg("path", { d: ICONS[name] });
  return svg("svg", { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true", focusable: "false" }, path);
}

export function setIcon(button, name) {
  button.querySelector("path")?.setAttribute("d", ICONS[name]);
}
