// Small curves of what a job measured, one for each figure.

const WIDTH = 320;
const HEIGHT = 96;
const MARGIN = 4;
const MOST_POINTS = 600;

function svg(tag, attributes, ...children) {
  const element =
      document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const short = (value) => Number(value.toPrecision(4)).toString();

// Every so many points, and the last.
function thinned(points) {
  const step = Math.ceil(points.length / MOST_POINTS);
  return points.filter((_, i) => i % step === 0 || i === points.length - 1);
}

// `points` are [step, value], by step.
function curve(name, points) {
  const steps = points.map(([step]) => step);
  const values = points.map(([, value]) => value);
  const [left, right] = [steps[0], steps.at(-1)];
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  const scale = (value, from, to, size) =>
    to > from ? MARGIN + (value - from) / (to - from) * (size - 2 * MARGIN)
              : size / 2;
  const path = thinned(points).map(([step, value]) => [
    scale(step, left, right, WIDTH).toFixed(1),
    (HEIGHT - scale(value, low, high, HEIGHT)).toFixed(1),
  ].join(",")).join(" ");
  const says = `${name}: ${short(values[0])} at step ${left}, ` +
      `${short(values.at(-1))} at step ${right}, ` +
      `between ${short(low)} and ${short(high)}`;
  const figure = document.createElement("figure");
  figure.dataset.key = name;
  const caption = document.createElement("figcaption");
  caption.textContent = `${name.replaceAll("_", " ")} ${short(values.at(-1))}`;
  const axis = document.createElement("p");
  axis.textContent =
      `${short(low)} to ${short(high)}, steps ${left} to ${right}`;
  figure.append(
      caption,
      svg("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
                  "aria-label": says, preserveAspectRatio: "none"},
          svg("polyline", {points: path, class: "curve"})),
      axis);
  return figure;
}

// Of MetricPoints in the order of their steps.
export function curves(metrics) {
  const series = new Map();
  for (const {step, values} of metrics) {
    for (const [name, value] of Object.entries(values ?? {})) {
      if (!Number.isFinite(value)) continue;
      if (!series.has(name)) series.set(name, []);
      series.get(name).push([Number(step), value]);
    }
  }
  const box = document.createElement("div");
  box.className = "curves";
  // The epoch only says the step once more.
  series.delete("epoch");
  const rank = ([name]) => `${name.includes("loss") ? 0 : 1} ${name}`;
  const inOrder = [...series].sort((a, b) => rank(a) < rank(b) ? -1 : 1);
  for (const [name, points] of inOrder) {
    if (points.length > 1) box.append(curve(name, points));
  }
  return box;
}
