// The frame of the page: sign-in, navigation, and the view that the address names.

import { announce, fill, h } from "./core/dom.js";
import { keep, kept } from "./core/entry.js";
import { place } from "./core/focus.js";
import { link, parse } from "./core/router.js";
import { signIn } from "./core/session.js";
import { button, field, loading, problem, switchOff } from "./parts/controls.js";
import { icon } from "./parts/icons.js";
import { S } from "./strings.js";
import { VIEWS } from "./views/index.js";

const root = h("div", { class: "frame" });
document.body.append(root);

let session = null;
let leaving = null;
let shown = null;
let held = null;

history.scrollRestoration = "manual"; // a view has its height only when its content has come
document.addEventListener("click", ({ target }) => {
  const href = target.closest("a[href^='#/']")?.getAttribute("href");
  if (href) keep({ top: scrollY, href });
}, { capture: true });

function showSignIn(error) {
  const key = h("input", { type: "password", autocomplete: "off", required: true, spellcheck: "false" });
  const submit = button(S.signIn.submit, { kind: "main" });
  submit.type = "submit";
  const said = h("div", {}, error ? problem(error) : null);
  const form = h(
    "form",
    { class: "sign-in card", on: { submit: (event) => { event.preventDefault(); enter(); } } },
    h("img", { src: "icon.svg", alt: "", width: "44", height: "44" }),
    h("h1", {}, S.signIn.title),
    h("p", { class: "quiet" }, S.signIn.explanation),
    field(S.signIn.key, key, S.signIn.help),
    said,
    submit,
  );

  async function enter() {
    switchOff(submit, true);
    fill(said);
    try {
      session = await signIn(key.value.trim());
      showFrame();
    } catch (refused) {
      fill(said, problem(refused));
      key.focus();
    } finally {
      switchOff(submit, false);
    }
  }

  document.title = S.signIn.title;
  fill(root, h("main", { class: "centre" }, form));
  key.focus();
}

function showFrame() {
  const entries = Object.entries(VIEWS).filter(([, view]) => view.inMenu && view.scopes.some(session.may));
  const links = entries.map(([name, view]) =>
    h("a", { href: link(name), data: { name } }, icon(view.icon), h("span", {}, view.menu ?? view.title)));
  const main = h("main", { id: "main", tabindex: "-1" });
  fill(
    root,
    h("a", { class: "skip", href: "#main", on: { click: (event) => { event.preventDefault(); main.focus(); } } }, S.skip),
    h(
      "header",
      { class: "side" },
      h("div", { class: "brand" }, h("img", { src: "icon.svg", alt: "", width: "28", height: "28" }), h("span", {}, S.name)),
      h("nav", { "aria-label": S.navigation }, links),
      h("div", { class: "who" }, icon("person"), h("span", {}, session.account),
        button("", { name: "leave", label: S.signOut, onClick: signOut })),
    ),
    main,
  );
  window.onhashchange = () => showView(main, links);
  showView(main, links);
}

async function showView(main, links) {
  const where = parse(location.hash);
  const name = where.name in VIEWS ? where.name : Object.keys(VIEWS)[0];
  const view = VIEWS[name];
  leaving?.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  for (const one of links) {
    if (one.dataset.name === (view.under ?? name)) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  document.title = `${view.title} · ${S.name}`;
  // A view that is shown again keeps the place of the keyboard; in another one the keyboard begins at the top.
  const again = shown === name;
  if (main.contains(document.activeElement)) held = place(main);
  else if (document.activeElement !== document.body) held = null;
  shown = name;
  fill(main, loading());
  try {
    const { render } = await view.load();
    if (signal.aborted) return;
    fill(main);
    window.scrollTo(0, 0);
    await render(main, { ...where, session, signal });
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    fill(main, h("h1", {}, view.title), problem(error));
    if (error.status === 401) return signOut(error);
  }
  if (signal.aborted) return;
  const title = main.querySelector("h1")?.textContent || view.title;
  document.title = `${title} · ${S.name}`;
  announce(title);
  const { top, href } = kept();
  if (top) window.scrollTo(0, top);
  const left = href && main.querySelector(`a[href="${CSS.escape(href)}"]`);
  if (left && [document.body, main].includes(document.activeElement)) left.focus({ preventScroll: true });
  else if (again) held?.restore(() => main);
  else if (held && document.activeElement === document.body) main.focus({ preventScroll: true });
  held = null;
}

function signOut(error) {
  leaving?.abort();
  session?.end();
  [session, shown, held] = [null, null, null];
  window.onhashchange = null;
  for (const open of document.querySelectorAll("dialog")) open.remove();
  showSignIn(error instanceof Error ? error : undefined);
}

showSignIn();
// Loaded while the key is typed, so that no view is waited for when it is first shown.
for (const { load } of Object.values(VIEWS)) load().catch(() => {});
