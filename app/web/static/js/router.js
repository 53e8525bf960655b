// Which view is shown: by the path, without loading the page again.

const routes = [];
let outlet;
let dispose = () => {};
let shownPath = null;
let title = "";
let mark = "";

/** Show a view at paths like /releases/:id: view(params, outlet) begins with an h1 and returns dispose(). */
export function route(pattern, view) {
  const names = [...pattern.matchAll(/:(\w+)/g)].map((match) => match[1]);
  routes.push({ path: new RegExp(`^${pattern.replace(/:\w+/g, "([^/]+)")}$`), names, view });
}

export function start(element) {
  outlet = element;
  document.addEventListener("click", follow);
  addEventListener("popstate", () => show());
}

/** Go to a path, as by a link; with `replace` in the place of the present one. */
export function go(path, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", path);
  show();
  scrollTo(0, 0);
}

/** Show what is at the address; anew even if it is shown already, with `anew`. */
export function show({ anew = false } = {}) {
  if (shownPath === location.pathname && !anew) return;
  shownPath = location.pathname;
  dispose();
  const found = routes.find(({ path }) => path.test(shownPath)) ?? routes[0];
  const values = found.path.exec(shownPath)?.slice(1) ?? [];
  const params = Object.fromEntries(found.names.map((name, index) => [name, decodeURIComponent(values[index])]));
  outlet.replaceChildren();
  dispose = found.view(params, outlet) ?? (() => {});
  for (const link of document.querySelectorAll("nav a[data-link]")) {
    const { pathname } = new URL(link.href);
    const current = shownPath === pathname || (pathname !== "/" && shownPath.startsWith(`${pathname}/`));
    link.toggleAttribute("aria-current", current);
    if (current) link.setAttribute("aria-current", "page");
  }
  introduce();
}

/** Name the page after its heading, and go on from there by keyboard or screen reader. */
function introduce() {
  const heading = outlet.querySelector("h1");
  if (!heading) return;
  setTitle(heading.textContent);
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

/** A view whose module is loaded when it is first shown: lazily(() => import("./views/x.js"), "xView"). */
export const lazily = (load, name) => (params, element) => {
  let end = () => {};
  let isOver = false;
  load().then((module) => {
    if (isOver) return;
    end = module[name](params, element) ?? end;
    introduce();
  });
  return () => {
    isOver = true;
    end();
  };
};

export function setTitle(text) {
  title = text;
  document.title = `${mark}${title} · Slipway`;
}

/** What stands before every page's name in the tab. */
export function setMark(text) {
  mark = text;
  setTitle(title);
}

function follow(event) {
  const link = event.target.closest?.("a[data-link]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.getAttribute("href"));
}
