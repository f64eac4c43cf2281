// The frame around the views, and which view an address is.

import { exchange, get, introduce, listen, signIn } from "./api.js";
import { alerts, doctor, schedules, services, waits } from "./around.js";
import { dead } from "./dead.js";
import { deeds, job } from "./deeds.js";
import { h, mark, patch, ROOT, s, toast } from "./dom.js";
import { overview } from "./overview.js";
import { run } from "./run.js";
import { runs } from "./runs.js";
import { search } from "./search.js";
import { n } from "./words.js";

// A view: its address, what shows it, its title.
const VIEWS = [
  [/^\/$/, overview, "Overview"],
  [/^\/runs$/, runs, "Runs"],
  [/^\/runs\/([^/]+)$/, run, "Run"],
  [/^\/dead(?:\/(\d+))?$/, dead, "Dead letters"],
  [/^\/services$/, services, "Services"],
  [/^\/schedules$/, schedules, "Schedules"],
  [/^\/waits$/, waits, "Queues and waits"],
  [/^\/alerts$/, alerts, "Alerts"],
  [/^\/doctor$/, doctor, "Doctor"],
  [/^\/deeds$/, deeds, "Deeds"],
  [/^\/jobs\/([0-9a-f]+)$/, job, "Command"],
  [/^\/search$/, search, "Search"],
];
/** What the view is made of, for `?json`: the answer of the API as it is. */
const RAW = {
  Overview: () => "/overview",
  Runs: () => "/runs",
  Run: id => `/runs/${id}`,
  "Dead letters": id => (id ? `/letters/${id}` : "/letters"),
  "Queues and waits": () => "/waits",
  Command: id => `/jobs/${id}`,
};
/** Where we are, below the root. */
const path = () => location.pathname.slice(ROOT.length) || "/";
const NAV = [
  ["/", "home", "Overview", "o"],
  ["/runs", "list", "Runs", "r"],
  ["/dead", "dead", "Dead letters", "d"],
  ["/schedules", "clock", "Schedules", "c"],
  ["/waits", "lanes", "Queues and waits", "w"],
  ["/services", "bolt", "Services", "s"],
  ["/alerts", "bell", "Alerts", "a"],
  ["/doctor", "pulse", "Doctor", "h"],
  ["/deeds", "key", "Deeds", "e"],
  ["/search", "search", "Search", "f"],
];

let about = null,
  counts = {},
  shown = null,
  state = "live",
  due = null,
  number = 0;

// -- frame ----------------------------------------------------------------------------------------------------------------
const main = h("main", { id: "main", tabindex: -1 });
const side = h("aside", { class: "side", "aria-label": "Navigation" });
function frame() {
  const logo = s(
    "svg",
    { width: 18, height: 18, viewBox: "0 0 18 18", fill: "none", "aria-hidden": "true" },
    ...["M3 9.5 9 3l6 6.5", "M3 14.5 9 8l6 6.5"].map((d, i) =>
      s("path", {
        d,
        stroke: "var(--accent)",
        "stroke-opacity": i ? 0.4 : 1,
        "stroke-width": 2.4,
        "stroke-linecap": "round",
        "stroke-linejoin": "round",
      }),
    ),
  );
  const folder = about ? about.state.split("/").slice(0, -1) : [],
    home = folder.at(-1) === ".perdure" ? folder.at(-2) : folder.at(-1);
  const item = ([href, icon, text]) => {
    const here = href === "/" ? path() === "/" : path().startsWith(href),
      c = counts[href];
    return h(
      "a",
      { href, "aria-current": here ? "page" : null, title: text },
      mark(icon, 14, true),
      h("span", { class: "t" }, text),
      c?.text ? h("span", { class: `n ${c.tone || ""}` }, c.text) : null,
    );
  };
  patch(
    side,
    h(
      "a",
      { class: "brand", href: "/", "aria-label": "perdure, overview" },
      logo,
      h("span", { class: "t" }, "perdure"),
    ),
    about
      ? h(
          "div",
          { class: "where", title: about.state },
          h("b", { class: "clip" }, home || "/"),
          h("span", { class: "clip" }, about.state),
        )
      : null,
    h("nav", { "aria-label": "Views" }, NAV.map(item)),
    h(
      "div",
      { class: "foot" },
      h(
        "span",
        { class: `live ${state}`, role: "status" },
        h("i"),
        { live: "live", lost: "the connection is lost; trying again", paused: "paused" }[state],
      ),
      about ? h("span", {}, `perdure ${about.perdure}${about.read_only ? " · read-only" : ""}`) : null,
      h("span", {}, h("kbd", {}, "?"), " keys   ", h("kbd", {}, "/"), " search"),
    ),
  );
}
/** What the frame says besides: counts beside the views. */
export function note(found) {
  const all = Object.values(found.totals).reduce((a, b) => a + b, 0),
    open = found.services.filter(x => x.state === "open" || x.state === "isolated").length;
  counts = {
    "/": { text: found.needs.length ? n(found.needs.length + found.more_needs) : "", tone: "warn" },
    "/runs": { text: all ? `${n(all)}${found.more_totals.length ? "+" : ""}` : "" },
    "/dead": { text: found.letters ? n(found.letters) : "", tone: "bad" },
    "/services": { text: open ? `${open} open` : "", tone: "warn" },
  };
  frame();
}

// -- views ----------------------------------------------------------------------------------------------------------------
/** Go to an address. `replace`: it takes the place of this one in the history. */
export function go(address, replace = false) {
  history[replace ? "replaceState" : "pushState"](null, "", ROOT + address);
  show();
}
async function show() {
  const [pattern, made, title] = VIEWS.find(([p]) => p.test(path())) || VIEWS[0];
  const mine = ++number,
    given = pattern.exec(path())?.[1],
    query = new URLSearchParams(location.search);
  const view = query.has("json") ? raw(RAW[title] ? RAW[title](given) : `/${title.toLowerCase()}`) : made;
  if (shown?.view === view && shown.given === given && shown.here.readdress) {
    frame();
    return shown.here.readdress(query);
  }
  shown?.here.leave?.();
  for (const box of document.querySelectorAll("dialog")) box.close();
  main.replaceChildren();
  const here = view({
    main,
    given: given && decodeURIComponent(given).replace(/^\0/, ""),
    query,
    go,
    note,
    title: t => {
      document.title = `${t} · perdure`;
    },
  });
  shown = { view, given, here };
  document.title = `${title} · perdure`;
  const done = refresh(mine); // the question is on its way while the frame is drawn
  frame();
  scrollTo(0, 0);
  await done;
  if (mine === number) follow?.(here.about || null);
  if (mine === number && !main.contains(document.activeElement)) main.focus({ preventScroll: true });
}
function raw(address) {
  return ({ main, query }) => ({
    async refresh() {
      const given = Object.fromEntries([...query].filter(([k]) => !["json", "step", "t", "show"].includes(k)));
      if (address === "/letters" && given.q) {
        given.error = given.q;
        delete given.q;
      }
      patch(
        main,
        h("div", { class: "top" }, h("div", { class: "grow" }, h("h1", {}, `/api/v1${address}`))),
        h(
          "section",
          { class: "card", "aria-label": "Answer" },
          h(
            "pre",
            { class: "codex", tabindex: 0, role: "region", "aria-label": "JSON" },
            JSON.stringify(await get(address, given), null, 2),
          ),
        ),
      );
    },
  });
}
async function refresh(mine = number) {
  try {
    await shown?.here.refresh();
  } catch (error) {
    if (mine !== number || error.name === "AbortError" || error.status === 401) return;
    main.replaceChildren();
    patch(
      main,
      h("div", { class: "top" }, h("h1", {}, "This cannot be shown")),
      h(
        "section",
        { class: "card pad14", role: "alert" },
        h("p", {}, h("b", {}, error.message)),
        error.hint ? h("p", { class: "mute" }, error.hint) : null,
        h("p", {}, h("a", { class: "btn", href: "/" }, "Overview")),
      ),
    );
  }
}
function changed(change) {
  // at most once a second, and never two at a time
  if (due || (change && shown?.here.skips?.(change))) return;
  due = setTimeout(async () => {
    await refresh();
    due = null;
  }, 700);
}

// -- keys -----------------------------------------------------------------------------------------------------------------
const ZOOM = { "+": "in", "-": "out", "[": "left", "]": "right", 0: "all" };
let before = "";
addEventListener("keydown", e => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === "Escape" && e.target.matches?.("input, textarea")) {
    e.target.blur();
    return;
  }
  if (e.target.closest?.("input, textarea, select, dialog")) return;
  const led = before === "g";
  before = e.key;
  if (led) {
    const to = NAV.find(x => x[3] === e.key);
    if (to) {
      e.preventDefault();
      go(to[0]);
    }
    return;
  }
  if (e.key === "/") {
    const field = main.querySelector("[data-search]");
    if (field) {
      e.preventDefault();
      field.focus();
    } else {
      e.preventDefault();
      go("/search");
    }
  } else if (e.key === "?") help();
  else if (ZOOM[e.key]) main.querySelector(`[data-zoom=${ZOOM[e.key]}]`)?.click();
  else if (e.key === "w") main.querySelector("[data-waits]")?.click();
  else if ((e.key === "j" || e.key === "k") && !e.target.closest?.("[role=grid]")) {
    const rows = [...main.querySelectorAll("[data-row]")],
      k = rows.indexOf(e.target.closest?.("[data-row]")) + (e.key === "j" ? 1 : -1);
    if (rows.length) {
      e.preventDefault();
      rows[Math.max(0, Math.min(rows.length - 1, k))].focus();
    }
  }
});
function help() {
  const keys = [
    ["/", "search in this view, or everywhere"],
    ["j  k", "next and previous row"],
    ["Enter", "open the row"],
    ["Esc", "leave a field, close a dialog"],
    ["w", "show waits in the timeline, or hide them"],
    ["+  −", "zoom into the timeline, and out"],
    ["[  ]", "earlier and later in it"],
    ["0", "the whole run"],
    ...NAV.map(([, , text, key]) => [`g ${key}`, text]),
  ];
  const box = h(
    "dialog",
    { "aria-label": "Keys" },
    h(
      "div",
      { class: "in" },
      h("h2", {}, "Keys"),
      h(
        "dl",
        { class: "keys" },
        keys.map(([k, t]) => [h("dt", {}, h("kbd", {}, k)), h("dd", {}, t)]),
      ),
    ),
    h("footer", {}, h("button", { class: "btn", type: "button", on: { click: () => box.close() } }, "Close")),
  );
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}
addEventListener("click", e => {
  const link = e.target.closest?.("a[href]");
  if (
    !link ||
    e.defaultPrevented ||
    e.button ||
    e.ctrlKey ||
    e.metaKey ||
    e.shiftKey ||
    link.target ||
    link.origin !== location.origin ||
    !`${link.pathname}/`.startsWith(`${ROOT}/`)
  )
    return;
  if (link.getAttribute("href").startsWith("#")) return;
  e.preventDefault();
  go(link.pathname.slice(ROOT.length) + link.search);
});
addEventListener("popstate", show);
addEventListener("hashchange", async () => {
  if (await signIn()) begin();
});

// -- beginning ------------------------------------------------------------------------------------------------------------
function askForCode() {
  shown = null;
  number++;
  const field = h("input", { id: "code", autocomplete: "off", spellcheck: "false" });
  const form = h(
    "form",
    {
      class: "card pad14 signin",
      on: {
        submit: async e => {
          e.preventDefault();
          if (await exchange(field.value.trim().split("#").at(-1))) begin();
          else toast("the code was used before, or is older than a minute");
        },
      },
    },
    h("h1", {}, "perdure ui"),
    h(
      "p",
      { class: "mute" },
      "This page needs a link that is good once. Press Enter in the terminal where ",
      h("code", {}, "perdure ui"),
      " runs, or run it again, and open the link that it prints.",
    ),
    h("label", { for: "code" }, "Or paste the link, or the code behind its #"),
    h("div", { class: "acts" }, field, h("button", { class: "btn primary" }, "Go on")),
  );
  patch(side);
  patch(main, form);
}
addEventListener("signed-out", askForCode);
let follow = null;
async function begin() {
  const first = introduce(),
    done = show();
  try {
    about = await first;
  } catch (error) {
    if (error.status !== 401) toast(error.message);
    return;
  }
  frame();
  await done;
  if (path() !== "/") get("/overview").then(note, () => {});
  follow ||= listen(changed, now => {
    state = now;
    frame();
  });
  follow(shown?.here.about || null);
}
document.body.append(
  h(
    "a",
    {
      class: "skip",
      href: "#main",
      on: {
        click: e => {
          e.preventDefault();
          main.focus();
        },
      },
    },
    "Skip to the content",
  ),
  h("div", { class: "app" }, side, main),
  h("div", { id: "said", role: "status", "aria-live": "polite" }),
);
if (await signIn()) begin();
else askForCode();
