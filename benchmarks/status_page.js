// Runs in the page before its own code, and notes what a person would feel; taken, and forgotten, by measured.take().
(() => {
  const ROW = "li.row";
  const nothing = () => ({ tasks: [], frames: [], shown: [] });
  let noted = nothing();
  const statuses = new WeakMap(); // of a row, as last noted
  const painted = { first: null, all: null };
  const there = Promise.withResolvers();
  let frame = null;
  let step = 40;

  const statusesOf = (row) => [...row.querySelectorAll("[data-status]")].map((each) => each.dataset.status).join(" ");

  function note(row) {
    const shown = statusesOf(row);
    if (statuses.get(row) === shown) return;
    statuses.set(row, shown);
    noted.shown.push([row.querySelector("a").pathname.split("/").at(-1), shown, performance.timeOrigin + performance.now()]);
  }

  /** What runs after the frame in which we are was painted. */
  function afterPaint(run) {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = run;
    port2.postMessage(null);
  }

  new MutationObserver((records) => {
    const changed = new Set();
    for (const { target, addedNodes } of records) {
      const row = target.closest?.(ROW);
      if (row) changed.add(row);
      for (const node of addedNodes) if (node.matches?.(ROW)) statuses.set(node, statusesOf(node));
    }
    for (const row of changed) if (statuses.has(row)) note(row);
    if (painted.all !== null) return;
    const rows = document.querySelectorAll(ROW).length;
    if (rows && painted.first === null) {
      painted.first = 0;
      afterPaint(() => (painted.first = performance.now()));
    }
    if (rows >= window.expectedRows) {
      painted.all = 0;
      afterPaint(() => {
        painted.all = performance.now();
        there.resolve();
      });
    }
  }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-status"] });

  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) noted.tasks.push([startTime, duration]);
  }).observe({ type: "longtask", buffered: true });

  /** Down with each frame, and up again from the end. */
  function scroll(at) {
    if (frame !== null) noted.frames.push(at - frame);
    frame = at;
    const before = scrollY;
    scrollBy(0, step);
    if (scrollY === before) step = -step;
    requestAnimationFrame(scroll);
  }

  window.measured = {
    scroll: () => requestAnimationFrame(scroll),
    choose(name, value) {
      const field = document.querySelector(`select[name=${name}]`);
      field.value = value;
      field.dispatchEvent(new Event("change", { bubbles: true }));
    },
    take() {
      const all = { ...noted, now: performance.now() };
      noted = nothing();
      return all;
    },
    /** Milliseconds from the end of the HTML until something, rows, and all rows were painted, once they are. */
    async paint() {
      await there.promise;
      const { responseEnd } = performance.getEntriesByType("navigation")[0];
      const { startTime } = performance.getEntriesByName("first-contentful-paint")[0];
      return [startTime, painted.first, painted.all].map((at) => at - responseEnd);
    },
  };
})();
