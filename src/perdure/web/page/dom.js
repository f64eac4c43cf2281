// Elements by hand. A text only ever becomes a text node or the value of an attribute, so nothing that is shown is executed.

/** What all addresses begin with: nothing, or the path below which a proxy serves the page (`--root-path`). */
export const ROOT = new URL("..", import.meta.url).pathname.slice(0, -1);
const SVG = "http://www.w3.org/2000/svg";

/**
 * Give a node attributes, listeners (`on`) and children.
 * @template {any} N @param {N} given @param {Object|null} [props] @param {any[]} [kids] @returns {N}
 */
export function put(given, props, kids = []) {
  const node = /** @type {any} */ (given);
  for (const [name, value] of Object.entries(props || {})) {
    if (value == null || value === false) continue;
    if (name === "on") for (const [event, heard] of Object.entries(value)) listen(node, event, heard);
    else if (name === "value") {
      node.value = value;
      node.setAttribute("value", value);
    } else if (name === "checked") {
      node.checked = Boolean(value);
      node.setAttribute("checked", "");
    } else
      node.setAttribute(name, value === true ? "" : name === "href" && value[0] === "/" ? ROOT + value : String(value));
  }
  for (const kid of kids.flat(9)) if (kid != null && kid !== false) node.append(kid);
  return node;
}
/**
 * An element: `named` is its tag, with its classes behind dots; then come its properties, if it has some, and its children.
 * @param {string} named @param {any[]} rest @returns {any}
 */
export function h(named, ...rest) {
  const [tag, ...classes] = named.split("."),
    props = rest[0]?.constructor === Object ? rest.shift() : null;
  return put(document.createElement(tag), classes.length ? { class: classes.join(" "), ...props } : props, rest);
}
export const s = (tag, props, ...kids) => put(document.createElementNS(SVG, tag), props, kids);

// One listener a node and event, so that a node that stays can be given what a newer one does.
function listen(node, event, heard) {
  node.heard ||= {};
  if (!(event in node.heard)) node.addEventListener(event, e => node.heard[event]?.(e));
  node.heard[event] = heard;
}

/** @param {string} selector @param {ParentNode} within @returns {any} the first element that fits */
export const find = (selector, within = document) => within.querySelector(selector);

const REACHED = "a[href],button,input,select,textarea,summary,[tabindex]";
/**
 * Make an element's children look like others, keeping what is the same: focus, scroll and what is typed survive. If what
 * has the focus is gone, what stood next to it has it then.
 */
export function patch(old, ...kids) {
  const fresh = put(document.createElement(old.tagName), null, kids),
    at = document.activeElement,
    all = old.contains(at) ? [...old.querySelectorAll(REACHED)] : [];
  children(old, fresh);
  if (all[0] && document.activeElement !== at)
    [...all.slice(all.indexOf(at)), ...all.reverse(), find("main")].some(one => {
      one.focus({ preventScroll: true });
      return document.activeElement === one;
    });
  return old;
}
/** What a node is among its siblings, however it looks now. */
const named = one =>
  one.tagName &&
  one.tagName +
    (one.dataset.key ??
      one.getAttribute("aria-label") ??
      one.getAttribute("href") ??
      (one.matches("button") ? one.textContent : one.classList[0]));
function children(old, fresh) {
  const rest = [...fresh.childNodes],
    isWanted = one => rest.some(next => named(next) === named(one));
  let at = old.firstChild;
  const drop = () => {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  };
  while (rest[0]) {
    const next = rest.shift(),
      name = named(next);
    let mine = at;
    while (mine && named(mine) !== name) mine = mine.nextSibling;
    if (mine) {
      while (at !== mine && !isWanted(at)) drop();
      if (at !== mine) old.insertBefore(mine, at);
    } else if (at && at.nodeName === next.nodeName && at.dataset?.key === next.dataset?.key && !isWanted(at)) mine = at;
    if (mine) {
      morph(mine, next);
      at = mine.nextSibling;
    } else old.insertBefore(next, at);
  }
  while (at) drop();
}
function morph(old, fresh) {
  if (old.nodeType !== 1) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.hasAttribute("data-keep")) return;
  for (const { name } of [...old.attributes])
    if (!(name === "open" && old.tagName === "DETAILS") && !fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes)
    if (old.getAttribute(name) !== value) {
      if (name === "style")
        old.style.cssText = value; // the policy of the page refuses it as an attribute
      else old.setAttribute(name, value);
    }
  if ("value" in fresh && old !== document.activeElement && old.value !== fresh.value) old.value = fresh.value;
  if ("checked" in fresh) old.checked = fresh.checked;
  for (const event of Object.keys(old.heard || {})) if (!fresh.heard?.[event]) old.heard[event] = undefined;
  for (const [event, heard] of Object.entries(fresh.heard || {})) listen(old, event, heard);
  children(old, fresh);
}

// -- marks: every state has a shape of its own, colour comes on top -----------------------------------------------------------
/** What is called otherwise than its kind. */
export const NAMES = { dead: "dead letter", abandoned: "given up", open: "not completed" };
/** The colour of a kind; others have none. */
export const TONE = {
  done: "done",
  running: "run",
  stopping: "stop",
  waiting: "wait",
  suspended: "wait",
  queued: "wait",
  failed: "fail",
  dead: "dead",
  interrupted: "stop",
  parked: "fail",
  open: "fail",
  damaged: "fail",
  approval: "wait",
  service: "wait",
  due: "wait",
  letters: "dead",
  bell: "wait",
};
/** The colour of its bar, by name; nothing for those that have none. */
export const barTone = kind => TONE[kind] && TONE[kind] + (TONE[kind] === "stop" ? "" : "-bar");
const RING = "M7 1.2a5.8 5.8 0 1 1 0 11.6A5.8 5.8 0 0 1 7 1.2Z";
const FAINT = { d: RING, "stroke-opacity": 0.3 };
const SOLID = { fill: "currentColor", stroke: "none", "fill-rule": "evenodd" };
const SHAPES = {
  done: `${RING}M4.5 7.2l1.8 1.8 3.3-3.8`,
  running: [FAINT, { d: "M7 1.2A5.8 5.8 0 0 1 12.8 7", class: "spin" }],
  stopping: [FAINT, "M5 5h4v4H5Z"],
  waiting: `${RING}M5.5 5v4M8.5 5v4`,
  queued: "M2 4h10M2 7h6M2 10h3",
  failed: { d: "M7 .4 13.6 7 7 13.6.4 7ZM6.2 3.8v4h1.6v-4Zm0 5v1.6h1.6V8.8Z", ...SOLID },
  dead: {
    d: "M1.2 1.2h11.6v11.6H1.2ZM4.4 3 7 5.6 9.6 3 11 4.4 8.4 7 11 9.6 9.6 11 7 8.4 4.4 11 3 9.6 5.6 7 3 4.4Z",
    ...SOLID,
  },
  interrupted: "M4.2 1.9A5.8 5.8 0 0 0 4 12M9.8 12.1A5.8 5.8 0 0 0 10 2M7.8 3.4 5.6 7.2h2.8L6.2 10.8",
  parked: "M2.2 1.4h9.6v11.2H2.2ZM5.4 10V4h1.9a1.7 1.7 0 0 1 0 3.4H5.4",
  cancelled: `${RING}M4.4 7h5.2`,
  damaged: "M3 5.6V1.5h8v4.1L9 7.2 7 5.6 5 7.2ZM3 9.2l2 1.6 2-1.6 2 1.6 2-1.6v3.3H3Z",
  superseded: "M4 2v6m0-1c0-2 6-1 6-4M4 9.6v2.4M10 2v1",
  approval: `${RING}M5.6 5.4A1.5 1.5 0 1 1 7.4 7c-.3.1-.4.3-.4.8M7 9.9v.1`,
  search: "M6 2a4 4 0 1 1 0 8A4 4 0 0 1 6 2ZM9 9l4 4",
  home: "M2 6.4 7 2l5 4.4V12H8.6V8.6H5.4V12H2Z",
  list: "M2 4h10M2 7h10M2 10h10",
  bell: "M3 10.4h8l-1-1.6V6a3 3 0 0 0-6 0v2.8ZM6 12.4h2",
  bolt: "M8 1 3 8h3.4L6 13l5-7H7.4Z",
  clock: `${RING}M7 4v3l2 1.6`,
  pulse: "M1 7h3l1-4 3 8 2-4h3",
  key: "M5 9a3 3 0 1 1 2-5h5v2h-1v2H9l-1-1A3 3 0 0 1 5 9Z",
  lanes: "M2 4h5M4 7h7M8 10h4",
};
Object.assign(SHAPES, {
  suspended: SHAPES.waiting,
  due: SHAPES.clock,
  service: SHAPES.bolt,
  letters: SHAPES.dead,
  open: SHAPES.failed,
  abandoned: SHAPES.cancelled,
});
/** The mark of a state. @param {string} kind @param {number} size */
export function mark(kind, size = 14, hidden = false) {
  const named = hidden ? { "aria-hidden": "true" } : { role: "img", "aria-label": NAMES[kind] || kind };
  return s(
    "svg",
    {
      class: `ic ${TONE[kind] || "off"}`,
      width: size,
      height: size,
      viewBox: "0 0 14 14",
      fill: "none",
      stroke: "currentColor",
      "stroke-width": 1.4,
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
      ...named,
    },
    [SHAPES[kind] || []].flat().map(shape => s("path", shape.d ? shape : { d: shape })),
  );
}
export const pill = (kind, text) =>
  h("span", { class: `pill ${TONE[kind] || ""}` }, mark(kind, 12, true), text || NAMES[kind] || kind);

// -- pieces ----------------------------------------------------------------------------------------------------------------
export function toast(text) {
  const box = document.querySelector("#said");
  patch(box, h("div.toast", text));
  setTimeout(() => {
    if (box.firstChild?.textContent === text) patch(box);
  }, 2600);
}
export const copy = text =>
  navigator.clipboard?.writeText(text).then(
    () => toast("copied"),
    () => toast("the browser does not let a page copy"),
  );
/** A command, to be copied into a terminal. */
export const command = text =>
  h(
    "div.cmd",
    h("span.clip", { title: text }, text),
    h("button", { type: "button", "aria-label": `Copy: ${text}`, on: { click: () => copy(text) } }),
  );
/** A text that may be long: a few lines of it, and all of it when it is clicked. */
export const fold = (text, most = 110) =>
  text.length <= most ? text : h("details.fold", h("summary", h("span.two-lines", text)));
/** Ask before something is changed: `text` says what happens, `told` is the command that does the same, or makes it of the fields of `more`. */
export function confirm(title, text, told, label, tone, act, more = null) {
  const said = h("p.err", { role: "alert" }),
    note = act.length ? h("input", { id: "note", autocomplete: "off" }) : null;
  const typed = () => (typeof told === "function" ? told() : told),
    same = h("div", command(typed()));
  for (const one of more?.fields || []) one.addEventListener("input", () => patch(same, command(typed())));
  const box = h(
    "dialog",
    { "aria-label": title },
    h(
      "form",
      {
        method: "dialog",
        on: {
          submit: async e => {
            e.preventDefault();
            try {
              const said = await act(note?.value || "");
              box.close();
              toast(typeof said === "string" ? said : "done");
            } catch (error) {
              patch(said, error.message, error.hint ? h("span.mute", " ", coded(error.hint)) : null);
            }
          },
        },
      },
      h(
        "div.in",
        h("h2", title),
        h("p.mute", text),
        note ? h("label", { for: "note", class: "stackfield" }, "Note for the workflow", note) : null,
        more?.node,
        same,
        said,
      ),
      h(
        "footer",
        h("button.btn", { type: "button", on: { click: () => box.close() } }, "Not now"),
        h("button", { class: `btn ${tone}` }, label),
      ),
    ),
  );
  opened(box);
}
/** Show a dialog. When it is closed, what had the focus has it again, if that is still there. */
export function opened(box) {
  box.addEventListener("close", () => {
    box.remove();
    if (document.activeElement === document.body) find("main").focus();
  });
  document.body.append(box);
  box.showModal();
}
/** A small button; `props` are further properties of it. */
export const button = (text, tone, clicked, label = null, props = {}) =>
  h(
    "button",
    { type: "button", class: `btn small ${tone}`, "aria-label": label, on: { click: clicked }, ...props },
    text,
  );
/** What scrolls by itself, and is reached by the keyboard. */
export const region = (named, label, ...kids) => h(named, { tabindex: 0, role: "region", "aria-label": label }, kids);
/** The title of a view, and what is said below it. */
export const heading = (title, ...sub) =>
  h("div.top", h("div.grow", h("h1", title), sub.length ? h("div.sub", sub) : null));
export const card = (title, count, ...rest) =>
  h(
    "section.card",
    { "aria-label": title, "data-key": title },
    h("header", h("h2", title), count == null ? null : h("span.count", count)),
    rest,
  );
/** A card with a list; none, if nothing is in it. */
export const listing = (title, count, items) => (items.length ? card(title, count, h("ul.plain", items)) : null);
/** A card whose title stands above it already. */
export const sheet = (label, ...rest) => h("section.card", { "aria-label": label, "data-key": label }, rest);
/** A text in which what stands between ` is code. */
export const coded = text => (text || "").split("`").map((part, i) => (i % 2 ? h("code", part) : part));
export const empty = (...text) => h("p.empty", text);
/** Facts: [name, value]. */
export const pairs = known =>
  h(
    "div.facts",
    known.map(([k, v]) => h("dl", { "data-key": k }, h("dt", k), h("dd.num", v))),
  );
