// The specification's page: every call with its parameters, its body and its answers, from /openapi.json.

import { call, problem } from "./api.js";
import { byId, el } from "./dom.js";
import { drawSchema, prose, typeOf } from "./schema.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

function draw(specification) {
  const calls = callsOf(specification);
  const parts = (specification.tags ?? []).map(({ name, description }) => {
    return { name, description, own: calls.filter(({ operation }) => operation.tags?.includes(name)) };
  });
  byId("contents").replaceChildren(
    ...parts.flatMap(({ name, description, own }) => [el("h2", { title: description }, name), ...own.map(entryOf)]),
  );
  const { title, version, description } = specification.info;
  byId("calls").replaceChildren(
    el("section", {}, el("p", { class: "sentence" }, `${title} ${version}`), el("p", {}, prose(description))),
    ...parts.flatMap(({ own }) => own.map((call) => section(call, specification))),
  );
  document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

const callsOf = ({ paths }) =>
  Object.entries(paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, operation: item[method] })),
  );

const entryOf = ({ path, method, operation }) =>
  el("a", { href: `#${operation.operationId}` }, el("span", { class: "method" }, method.toUpperCase()), el("span", {}, path));

function section({ path, method, operation }, specification) {
  const { operationId, summary, description, parameters = [], requestBody, responses } = operation;
  const body = requestBody && Object.values(requestBody.content)[0]?.schema;
  return el(
    "section",
    { id: operationId },
    el("h2", {}, el("span", { class: "method" }, method.toUpperCase()), path),
    summary && el("p", {}, prose(summary)),
    description && description !== summary && el("p", { class: "quiet" }, prose(description)),
    parameters.length > 0 && el("h3", {}, "Parameters"),
    parameters.length > 0 && table(parameters.map((parameter) => parameterRow(parameter, specification))),
    body && el("h3", {}, "Body"),
    requestBody?.description && el("p", { class: "quiet" }, prose(requestBody.description)),
    body && drawSchema(body, specification),
    el("h3", {}, "Answers"),
    ...Object.entries(responses).map(([status, response]) => responseOf(status, response, specification)),
  );
}

const parameterRow = ({ name, in: where, required, description, schema }, specification) => [
  el("code", {}, name),
  el("span", {}, prose(description), " ", el("span", { class: "type" }, [where, typeOf(schema, specification), required && "required"].filter(Boolean).join(", "))),
];

function responseOf(status, { description, content }, specification) {
  const [type, { schema } = {}] = Object.entries(content ?? {})[0] ?? [];
  const title = [el("b", {}, status), " ", prose(description)];
  if (!schema || !type.includes("json")) return el("p", {}, ...title, type && el("span", { class: "type" }, ` ${type}`));
  return el("details", {}, el("summary", {}, ...title), drawSchema(schema, specification));
}

const table = (rows) => el("table", { class: "fields" }, el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell))))));

const answer = await call("GET", "/openapi.json");
if (answer.status === 200) draw(answer.body);
else byId("calls").replaceChildren(el("p", { class: "bad" }, problem(answer)));
