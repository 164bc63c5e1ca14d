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
      titleFontWeight: "normal", labelLimit: 170,
    },
    legend: {
      orient: "top", labelColor: "var(--ink)", titleColor: "var(--soft)",
      labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal",
      symbolStrokeWidth: 2, gradientLength: 120, offset: 6, titleLimit: 220,
    },
    rule: {color: "var(--soft)"},
    text: {color: "var(--ink)"},
  };
  const OPTIONS = {
    mode: "vega-lite", renderer: "svg", ast: true, actions: false,
    defaultStyle: false, config: CONFIG,
    tooltip: {disableDefaultStyle: true, theme: "report"},
  };

  function csvOf(link) {
    const bytes = atob(link.href.slice(link.href.indexOf(",") + 1));
    return new TextDecoder().decode(
        Uint8Array.from(bytes, (c) => c.charCodeAt(0)));
  }

  async function draw(chart) {
    const spec = JSON.parse(chart.nextElementSibling.textContent);
    const link = document.getElementById(chart.dataset.rows);
    spec.data = {values: csvOf(link), format: {type: "csv"}};
    spec.width = "container";
    spec.autosize = {type: "fit-x", contains: "padding"};
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
