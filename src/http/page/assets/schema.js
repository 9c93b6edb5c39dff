// Schemas of the specification, as tables of their fields.

import { el } from "./dom.js";

/** The depth of nested tables, since a schema may contain itself. */
const DEEPEST = 4;

function resolve(schema, specification) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((place, name) => place?.[name], specification) ?? {};
}

/** Text with `code` as code. */
export const prose = (text) =>
  el("span", {}, ...(text ?? "").split("`").map((part, index) => (index % 2 === 1 ? el("code", {}, part) : part)));

const nameOf = (schema) => schema.$ref?.split("/").at(-1);

/** The type of a schema in a few words. */
export function typeOf(schema, specification) {
  if (!schema) return "";
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return choices.map((choice) => typeOf(choice, specification)).join(" or ");
  const known = resolve(schema, specification);
  if (known.enum) return known.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (nameOf(schema)) return known.properties || known.allOf ? nameOf(schema) : typeOf(known, specification) || nameOf(schema);
  if (schema.type === "array") return `list of ${typeOf(schema.items, specification)}`;
  return [schema.type].flat().filter(Boolean).join(" or ");
}

/** The fields with their descriptions, and those of nested objects. */
export function drawSchema(schema, specification, depth = 0) {
  const fields = fieldsOf(schema, specification);
  if (fields.length === 0) return el("p", { class: "type" }, typeOf(schema, specification));
  const rows = fields.map(([name, field, required]) => {
    const inner = depth < DEEPEST ? innerOf(field, specification) : null;
    const known = resolve(field, specification);
    return el(
      "tr",
      {},
      el("td", {}, el("code", {}, name)),
      el(
        "td",
        {},
        prose(field.description ?? known.description),
        " ",
        el("span", { class: "type" }, [typeOf(field, specification), required && "required"].filter(Boolean).join(", ")),
        inner && el("details", {}, el("summary", { class: "type" }, "its fields"), drawSchema(inner, specification, depth + 1)),
      ),
    );
  });
  return el("table", { class: "fields" }, el("tbody", {}, ...rows));
}

/** `[name, schema, required]` for each field of an object, including `allOf`. */
function fieldsOf(schema, specification) {
  const known = resolve(schema, specification);
  const own = Object.entries(known.properties ?? {}).map(([name, field]) => [name, field, known.required?.includes(name)]);
  return [...(known.allOf ?? []).flatMap((part) => fieldsOf(part, specification)), ...own];
}

/** The object in a field: the field itself, one of its choices, or the items of its list. */
function innerOf(field, specification) {
  const candidates = [field, ...(field.oneOf ?? field.anyOf ?? []), field.items ?? resolve(field, specification).items];
  return candidates.filter(Boolean).find((candidate) => fieldsOf(candidate, specification).length > 0) ?? null;
}
