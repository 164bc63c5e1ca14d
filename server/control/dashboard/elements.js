// Elements, and values as people read them. Texts from data become text nodes,
// never markup.

// el("p", {class: "note"}, "text", el("b", {}, "more")): null children and
// undefined, null or false attributes are left out.
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter(
      (child) => child !== null && child !== undefined));
  return element;
}

// Makes the children of `from` those of `to`, changing what is there in place,
// so that focus, selection and open parts stay. Children with data-key are
// matched by it.
export function morphChildren(from, to) {
  const keyed = new Map();
  for (const child of from.children) {
    if (child.dataset.key) keyed.set(child.dataset.key, child);
  }
  let cursor = from.firstChild;
  for (const next of [...to.childNodes]) {
    const key = next.dataset?.key;
    const same = key ? keyed.get(key)
        : cursor && !cursor.dataset?.key ? cursor : undefined;
    if (!same) {
      from.insertBefore(next, cursor);
      continue;
    }
    if (same === cursor) {
      cursor = cursor.nextSibling;
    } else {
      from.insertBefore(same, cursor);
    }
    morph(same, next);
  }
  while (cursor) {
    const next = cursor.nextSibling;
    cursor.remove();
    cursor = next;
  }
}

function morph(from, to) {
  if (from.nodeName !== to.nodeName) return from.replaceWith(to);
  if (from.nodeType === Node.TEXT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return undefined;
  }
  // What a person opened stays open, what a script put in stays in.
  if (from.hasAttribute("data-own")) return undefined;
  for (const {name} of [...from.attributes]) {
    if (name !== "open" && !to.hasAttribute(name)) from.removeAttribute(name);
  }
  for (const {name, value} of to.attributes) {
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  return morphChildren(from, to);
}

// What is behind a name's last slash.
export const shortName = (name) => (name ?? "").split("/").at(-1);

export function count(value) {
  return Number(value ?? 0).toLocaleString("en");
}

export function bytes(value) {
  let size = Number(value ?? 0);
  if (size < 1000) return `${size} B`;
  for (const unit of ["kB", "MB", "GB", "TB"]) {
    size /= 1000;
    if (size < 1000) return `${size.toFixed(size < 10 ? 1 : 0)} ${unit}`;
  }
  return `${Math.round(size)} PB`;
}

// "45 s", "3 min 20 s", "2 h 5 min", "3 d 4 h".
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const pair = (big, size, small, part) => {
    const rest = Math.floor((whole % size) / part);
    return `${Math.floor(whole / size)} ${big}` +
        (rest > 0 ? ` ${rest} ${small}` : "");
  };
  if (whole < 3600) return pair("min", 60, "s", 1);
  if (whole < 86400) return pair("h", 3600, "min", 60);
  return pair("d", 86400, "h", 3600);
}

// "3 min ago", with the time itself as title.
export function ago(text) {
  if (!text) return el("span", {}, "–");
  const time = new Date(text);
  const past = (Date.now() - time) / 1000;
  const words = past < 5 ? "just now" : `${duration(past)} ago`;
  return el("time", {datetime: text, title: time.toLocaleString()}, words);
}

const SIGNS = {
  queued: "○", waiting: "◌", running: "▶", succeeded: "✓", failed: "✕",
  cancelling: "⊘", cancelled: "⊘", pausing: "‖", paused: "‖",
  ready: "●", starting: "◌", backing_off: "✕", stopped: "○",
  pass: "✓", warn: "!", abort: "✕", ok: "●",
};

// "running" of JOB_STATE_RUNNING.
export function word(name, prefix) {
  return (name ?? "").replace(prefix, "").toLowerCase();
}

// A state as sign and word; colour only adds to them.
export function badge(state) {
  return el("span", {class: "badge", "data-state": state},
            el("span", {"aria-hidden": "true"}, SIGNS[state] ?? "·"),
            ` ${state.replaceAll("_", " ")}`);
}

export const jobState = (job) => word(job.state, "JOB_STATE_");

// A table that becomes a list of cards on a narrow page. `columns` are
// headings, `rows` are {key, cells}.
export function table(label, columns, rows) {
  const head = el("tr", {},
                  columns.map((name) => el("th", {scope: "col"}, name)));
  const body = rows.map(({key, cells}) => el(
      "tr", {"data-key": key},
      cells.map((cell, i) => el("td", {"data-label": columns[i]}, cell))));
  return el("table", {"aria-label": label}, el("thead", {}, head),
            el("tbody", {}, body));
}

// Pairs of a name and a value; those without a value are left out.
export function pairs(entries) {
  return el("dl", {}, entries
      .filter(([, value]) => value !== null && value !== undefined &&
                             value !== "")
      .map(([name, value]) =>
        el("div", {"data-key": name}, el("dt", {}, name),
           el("dd", {}, value))));
}

export function section(id, title, ...children) {
  return el("section", {"aria-labelledby": id, "data-key": id},
            el("h2", {id}, title), ...children);
}

export function jobLink(job) {
  return el("a", {href: `/jobs/${shortName(job.name)}`, "data-link": true},
            jobTitle(job));
}

// "evaluate mcq: questions.jsonl, tiny, cubic".
export function jobTitle(job) {
  const spec = job.spec?.[job.kind] ?? {};
  const networks = (spec.variants ?? [spec.variant, spec.target])
      .filter((variant) => variant)
      .map((variant) => shortName(variant.adapter || variant.model));
  const parts = [spec.title, spec.data_name, spec.universe_name,
                 shortName(spec.output_adapter), ...networks];
  const subject = parts.filter((part) => part).join(", ");
  const kind = (job.kind ?? "").replaceAll("_", " ");
  return subject ? `${kind}: ${subject}` : kind;
}

export function progress(job) {
  const done = Number(job.progress?.done_count ?? 0);
  const total = Number(job.progress?.total_count ?? 0);
  if (total === 0) return el("span", {}, "–");
  const words = `${count(done)} of ${count(total)} ${job.progress.unit}`;
  return el("span", {class: "progress"},
            el("progress", {max: total, value: done, "aria-label": "progress"}),
            el("span", {}, words));
}

// "2.5 items/s"; null while it is not known.
export function speed(job) {
  const rate = Number(job.progress?.rate ?? 0);
  return rate > 0 && jobState(job) === "running"
    ? `${rate.toPrecision(3)} ${job.progress.unit}/s` : null;
}

// When a queued job starts; null where that is not known.
export function startsIn(job) {
  // Protobuf's JSON: "12.5s".
  const wait = Number.parseFloat(job.queue?.estimated_wait);
  return Number.isFinite(wait) ? `in about ${duration(wait)}` : null;
}

// Seconds until it ends, by its rate; null where that is not known.
export function secondsLeft(job) {
  const rate = Number(job.progress?.rate ?? 0);
  if (jobState(job) !== "running" || !(rate > 0)) return null;
  return (Number(job.progress.total_count) - Number(job.progress.done_count)) /
      rate;
}

// What may be asked of a job in its state.
export function actions(job, caller) {
  if (caller?.scope === "SCOPE_READ") return null;
  const asked = {
    queued: ["pause", "cancel"], waiting: ["pause", "cancel"],
    running: ["pause", "cancel"], pausing: ["cancel"],
    paused: ["resume", "cancel"], failed: ["retry"], cancelled: ["retry"],
  }[jobState(job)] ?? [];
  if (asked.length === 0) return null;
  return el("span", {class: "actions"}, asked.map((action) => el(
      "button", {
        type: "button",
        "data-key": action,
        "data-action": action,
        "data-job": shortName(job.name),
        "aria-label": `${action} ${jobTitle(job)}`,
      }, action[0].toUpperCase() + action.slice(1))));
}
