// The page of one job.

import {follow, getBlob, getJson, getText} from "./api.js";
import {curves} from "./chart.js";
import * as e from "./elements.js";

const MOST_EVENTS = 300;
const RENDER_MS = 2000;
// Of a file that the page shows itself.
const MOST_SHOWN_BYTES = 64e6;

const pathOf = (artifact) => `/api/artifacts/${e.shortName(artifact)}`;

function headSection(job, caller) {
  const left = e.secondsLeft(job);
  const queue = job.queue ?? {};
  return e.el(
      "div", {"data-key": "head"},
      e.el("h1", {}, e.jobTitle(job)),
      e.el("p", {class: "head"}, e.badge(e.jobState(job)), " ",
           e.progress(job), " ", e.actions(job, caller)),
      e.pairs([
        ["name", job.name],
        ["owner", e.shortName(job.owner)],
        ["reason", job.reason],
        ["rate", e.speed(job)],
        ["time left", left === null ? null : `about ${e.duration(left)}`],
        ["place in the queue", Number(queue.position) || null],
        ["waits for", queue.waits_for],
        ["starts", e.startsIn(job)],
        ["depends on", job.depends_on?.length > 0
          ? e.el("span", {}, job.depends_on.map(named)) : null],
        ["replay of", job.replay_of ? named(job.replay_of) : null],
        ["created", e.ago(job.create_time)],
        ["started", job.start_time ? e.ago(job.start_time) : null],
        ["ended", job.end_time ? e.ago(job.end_time) : null],
        ["attempts", e.count(job.attempt_count)],
        ["device time",
         job.usage ? e.duration(job.usage.device_seconds) : null],
        ["tokens", job.usage ? e.count(job.usage.token_count) : null],
      ]));
}

function named(name) {
  return e.el("a", {href: `/jobs/${e.shortName(name)}`, "data-link": true,
                    "data-key": name, class: "id"}, e.shortName(name));
}

function outputsSection(job) {
  const rows = (job.outputs ?? []).map((output) => ({
    key: output.file_name,
    cells: [
      output.file_name, e.bytes(output.size_bytes),
      e.el("span", {class: "actions"},
           output.file_name.endsWith(".html")
             ? e.el("button", {type: "button", "data-key": "open",
                               "data-report": output.artifact,
                               "aria-label": `Open ${output.file_name}`},
                    "Open")
             : null,
           e.el("button", {type: "button", "data-key": "download",
                           "data-download": output.artifact,
                           "data-file": output.file_name,
                           "aria-label": `Download ${output.file_name}`},
                "Download")),
    ],
  }));
  return e.section("outputs", "Files", rows.length === 0
    ? e.el("p", {class: "empty"}, "No file yet.")
    : e.table("Files", ["File", "Size", "Actions"], rows));
}

function stagesSection({stages, gates}) {
  if (!stages && !gates) return null;
  return e.section(
      "stages", "Stages and gates",
      stages ? e.table("Stages", ["Stage", "Kind", "State", "Job", "Digest"],
                       stages.map((stage) => ({key: stage.name, cells: [
                         stage.name, (stage.kind ?? "").replaceAll("_", " "),
                         e.badge(e.word(stage.state, "JOB_STATE_")),
                         stage.job ? named(stage.job) : "–",
                         e.el("span", {class: "id"},
                              (stage.digest ?? "").replace("sha256:", "")
                                  .slice(0, 12) || "–"),
                       ]}))) : null,
      gates ? e.table("Gates", ["Gate", "Stage", "Verdict", "Why"],
                      gates.map((gate) => ({
                        key: `${gate.gate} ${gate.stage}`,
                        cells: [
                          e.word(gate.gate, "GATE_").replaceAll("_", " "),
                          gate.stage, e.badge(e.word(gate.status, "")),
                          gate.text || "–",
                        ]}))) : null);
}

function eventText(event) {
  if (event.state) return `state: ${e.word(event.state, "JOB_STATE_")}`;
  if (event.progress) {
    const {done_count: done, total_count: total, unit} = event.progress;
    return `${e.count(done)} of ${e.count(total)} ${unit}`;
  }
  if (event.output) return `file: ${event.output.file_name}`;
  if (event.metrics) {
    const values = Object.entries(event.metrics.values ?? {})
        .map(([name, value]) => `${name} ${Number(value).toPrecision(4)}`);
    return `step ${event.metrics.step}: ${values.join(", ")}`;
  }
  return event.log ?? "";
}

function eventsSection(events) {
  // The newest on top.
  const rows = [...events].reverse().map((event) => e.el(
      "li", {"data-key": event.number}, e.ago(event.time), " ",
      e.el("span", {}, eventText(event))));
  return e.section("events", "Events", e.el(
      "ol", {class: "events", tabindex: "0", "aria-label": "Events"}, rows));
}

// For JSON.stringify: leaves out fields that are not set.
function whatIsSet(_, value) {
  const isUnset = value === "" || value === false || Number(value) === 0;
  return isUnset && !Array.isArray(this) ? undefined : value;
}

function specSection(job) {
  const text = JSON.stringify(job.spec?.[job.kind] ?? {}, whatIsSet, 2);
  return e.section("spec", "What was asked", e.el(
      "details", {}, e.el("summary", {}, "The request, without its data"),
      e.el("pre", {tabindex: "0"}, text)));
}

function provenanceSection(job) {
  const entries = (job.provenance ?? []).map((it, i) => e.el(
      "div", {"data-key": i}, e.pairs(Object.entries(it).map(
          ([name, value]) => [
            name.replaceAll("_", " "),
            typeof value === "object"
              ? Object.entries(value).map((it) => it.join(" ")).join(", ")
              : String(value),
          ]))));
  const inputs = (job.inputs ?? []).map((input) => [
    input.field, `${input.digest}, ${e.bytes(input.size_bytes)}`]);
  if (entries.length === 0 && inputs.length === 0) return null;
  return e.section("provenance", "Provenance", e.el(
      "details", {}, e.el("summary", {}, "What computed it, and from what"),
      e.pairs([...inputs, ["server", job.code_version]]), ...entries));
}

async function download(artifact, file) {
  const url = URL.createObjectURL(await getBlob(pathOf(artifact)));
  const link = e.el("a", {href: url, download: file});
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

// A report has scripts of its own: it gets a frame with an origin of its own.
async function openReport(artifact, place) {
  const text = await getText(pathOf(artifact));
  const frame = e.el("iframe", {
    src: "/report", sandbox: "allow-scripts", title: "Report", class: "report",
  });
  frame.addEventListener(
      "load", () => frame.contentWindow.postMessage(text, "*"), {once: true});
  place.replaceChildren(frame);
  frame.scrollIntoView();
}

// What a pipeline says of its stages and gates.
async function pipelineTables(job) {
  const tables = {};
  for (const name of ["stages", "gates"]) {
    const output =
        job.outputs?.find((it) => it.file_name === `${name}.json`);
    if (output && Number(output.size_bytes) < MOST_SHOWN_BYTES) {
      tables[name] = (await getJson(pathOf(output.artifact)))[name];
    }
  }
  return tables;
}

class JobPage {
  #main;
  #id;
  #tools;
  #job = null;
  #events = [];
  #metrics = [];
  #tables = {};
  #report = e.el("div", {"data-key": "report", "data-own": true});

  constructor(main, id, tools) {
    this.#main = main;
    this.#id = id;
    this.#tools = tools;
  }

  async load() {
    this.#job = await getJson(`/api/jobs/${this.#id}`);
    if (this.#job.kind === "pipeline") {
      this.#tables = await pipelineTables(this.#job);
    }
    this.render();
  }

  render() {
    const job = this.#job;
    if (!job) return;
    const curve = curves(this.#metrics);
    const page = e.el(
        "div", {}, headSection(job, this.#tools.caller()),
        curve.childElementCount > 0
          ? e.section("curves", "Curves", curve) : null,
        stagesSection(this.#tables), outputsSection(job), this.#report,
        specSection(job), provenanceSection(job), eventsSection(this.#events));
    e.morphChildren(this.#main, page);
  }

  take(kind, data) {
    if (kind === "job") {
      this.#job = {...this.#job, ...data};
      this.load().catch(this.#tools.onBreak);
      return true;
    }
    if (data.metrics) this.#metrics.push(data.metrics);
    // What the bar and the curves show is told once, not line by line.
    const isFigure = (event) => event?.progress || event?.metrics;
    if (isFigure(data) && isFigure(this.#events.at(-1))) this.#events.pop();
    this.#events.push(data);
    if (this.#events.length > MOST_EVENTS) this.#events.shift();
    if (data.progress && this.#job) this.#job.progress = data.progress;
    if (data.state && this.#job && this.#isNews(data)) {
      this.#tools.say(`the job is ${e.word(data.state, "JOB_STATE_")}`);
      this.#job.state = data.state;
      this.load().catch(this.#tools.onBreak);
    }
    if (data.output && this.#isNews(data)) {
      this.load().catch(this.#tools.onBreak);
    }
    return false;
  }

  // Not one that the job, as it was read, has in it.
  #isNews(event) {
    return Number(event.number) > Number(this.#job?.last_event_number ?? 0);
  }

  click(target) {
    const {download: artifact, file, report} = target.dataset;
    if (artifact) download(artifact, file).catch(this.#tools.onBreak);
    if (report) openReport(report, this.#report).catch(this.#tools.onBreak);
  }
}

// Shows a job until the function that it returns is called.
export function showJob(main, id, tools) {
  const page = new JobPage(main, id, tools);
  const stop = new AbortController();
  let isDirty = false;
  const render = () => {
    isDirty = false;
    page.render();
  };
  const timer = setInterval(render, RENDER_MS);
  main.addEventListener("click", (event) => {
    const target = event.target.closest("[data-download], [data-report]");
    if (target) page.click(target);
  }, {signal: stop.signal});
  page.load()
      .then(() => follow(`/api/jobs/${id}/events`, {
        signal: stop.signal,
        onBreak: tools.onBreak,
        take: (kind, data) => {
          const isLast = page.take(kind, data);
          // Many come at once when they are told again.
          if (!isDirty) requestAnimationFrame(render);
          isDirty = true;
          return isLast;
        },
      }))
      .catch(tools.onBreak);
  return {
    stop: () => {
      clearInterval(timer);
      stop.abort();
    },
    refresh: () => page.load().catch(tools.onBreak),
  };
}
