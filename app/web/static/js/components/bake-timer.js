// What remains of a bake time, counted down by the server's clock; with a bar, how much is over.

import { duration, eachSecond, exactly, inWords, now, seconds } from "../clock.js";
import { h, setAttribute, setText } from "../dom.js";

const running = new Set();
eachSecond(() => running.forEach((timer) => (timer.node.isConnected ? timer.show() : running.delete(timer))));

/** The timer of a phase that bakes: {node, update(phase)}. */
export function bakeTimer({ bar = false } = {}) {
  const left = h("span.left");
  const meter = bar && h("progress", { max: "1", "aria-label": "Bake progress" });
  const node = h("span.bake", meter, left);
  let phase = null;

  function show() {
    const whole = seconds(phase.bakeTime);
    if (phase.bakeEndsAt) {
      const remaining = (Date.parse(phase.bakeEndsAt) - now()) / 1000;
      setText(left, remaining > 0 ? `${inWords(Math.ceil(remaining))} left` : "ends now");
      if (meter) meter.value = whole ? 1 - Math.min(1, Math.max(0, remaining / whole)) : 1;
    } else {
      setText(left, phase.bakeRemaining ? `paused with ${duration(phase.bakeRemaining)} left` : "");
      if (meter) meter.value = phase.bakeRemaining && whole ? 1 - seconds(phase.bakeRemaining) / whole : 1;
    }
  }

  const timer = { node, show };
  const update = (changed) => {
    phase = changed;
    node.hidden = !phase || (!phase.bakeEndsAt && phase.status !== "PAUSED");
    running.delete(timer);
    if (node.hidden) return;
    setAttribute(node, "title", phase.bakeEndsAt ? `until ${exactly(phase.bakeEndsAt)}` : null);
    show();
    if (phase.bakeEndsAt) running.add(timer);
  };
  return { node, update };
}
