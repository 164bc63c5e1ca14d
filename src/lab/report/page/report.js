// Draws the charts of the page. Their data are in the links to the CSV files,
// so that each is there once. Colours are CSS variables in the SVG: dark mode
// and print need no drawing again.
"use strict";
(() => {
  const CONFIG = {
    background: "transparent",
    font: 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif',
    padding: 2,
    view: {stroke: null},
    axis: {
      labelColor: "var(--soft)", titleColor: "var(--soft)",
      gridColor: "var(--grid)", domainColor: "var(--line)",
      tickColor: "var(--line)", labelFontSize: 11, titleFontSize: 11,
      titleFontWeight: "normal",
    },
    legend: {
      orient: "top", labelColor: "var(--ink)", titleColor: "var(--soft)",
      labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal",
      symbolStrokeWidth: 2, symbolOpacity: 1, gradientLength: 120, offset: 6, titleLimit: 220,
    },
    rule: {color: "var(--soft)"},
    text: {color: "var(--ink)"},
  };
  const OPTIONS = {
    mode: "vega-lite", renderer: "svg", ast: true, actions: false,
    defaultStyle: false, config: CONFIG,
    tooltip: {disableDefaultStyle: true, theme: "report"},
  };

  function textOf(link) {
    const bytes = atob(link.href.slice(link.href.indexOf(",") + 1));
    return new TextDecoder().decode(
        Uint8Array.from(bytes, (c) => c.charCodeAt(0)));
  }

  // Lines of cells. Vega's own reader would make code of the column names,
  // which the page's policy forbids.
  function cellsOf(csv) {
    const lines = [[]];
    const cell = /("(?:[^"]|"")*"|[^,"\n]*)(,|\n|$)/g;
    for (const [, text, end] of csv.matchAll(cell)) {
      lines.at(-1).push(
          text.startsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text);
      if (end === "\n") lines.push([]);
      if (end === "") break;
    }
    return lines.filter((line) => line.length > 1 || line[0] !== "");
  }

  // `values` are the columns of numbers and booleans; others are texts.
  function rowsOf(csv, values) {
    const [columns, ...lines] = cellsOf(csv);
    return lines.map((cells) => Object.fromEntries(columns.map((column, i) => {
      if (cells[i] === "") return [column, null];
      return [column, values.has(column) ? JSON.parse(cells[i]) : cells[i]];
    })));
  }

  async function draw(chart) {
    const {spec, where} = JSON.parse(chart.nextElementSibling.textContent);
    const link = document.getElementById(chart.dataset.rows);
    const values = new Set(link.dataset.values.split(" "));
    const rows = rowsOf(textOf(link), values).filter((row) => Object.entries(
        where).every(([field, value]) => row[field] === value));
    spec.data = {values: rows};
    spec.width = "container";
    spec.autosize = {type: "fit-x", contains: "padding"};
    // Long names must leave room for the plot.
    spec.config = {axis: {labelLimit: Math.max(90, chart.clientWidth * 0.3)}};
    try {
      await vegaEmbed(chart, spec, OPTIONS);
    } catch (error) {
      chart.textContent = `The chart could not be drawn: ${error.message}`;
      chart.classList.add("failed");
    }
  }

  // Marks the section that is being read in the list of contents.
  function followReader() {
    const links = new Map();
    for (const link of document.querySelectorAll("nav a")) {
      links.set(link.hash.slice(1), link);
    }
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const link = links.get(entry.target.id);
        if (!link || !entry.isIntersecting) continue;
        for (const other of links.values()) {
          other.removeAttribute("aria-current");
        }
        link.setAttribute("aria-current", "location");
      }
    }, {rootMargin: "-10% 0px -80% 0px"});
    for (const section of document.querySelectorAll("main > section")) {
      observer.observe(section);
    }
  }

  followReader();
  Promise.all(Array.from(document.querySelectorAll(".chart"), draw)).then(() => {
    document.documentElement.dataset.charts = "drawn";
  });
})();
