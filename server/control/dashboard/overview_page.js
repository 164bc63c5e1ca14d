// The first page: workers, jobs, models and users.

import {follow} from "./api.js";
import * as e from "./elements.js";

// Over which tokens per second are taken.
const WINDOW_MS = 15000;
const RENDER_MS = 2000;

const COUNTERS = ["dissonance_prefill_tokens_total",
                  "dissonance_decode_tokens_total",
                  "dissonance_training_tokens_total"];

// The last readings of the workers' counters, by worker.
class Rates {
  #readings = [];

  add(figures) {
    this.#readings.push({time: performance.now(), figures});
  }
  // Per second, of a worker's counter; null while there are no two readings.
  of(worker, name) {
    const now = performance.now();
    while (this.#readings.length > 1 &&
           now - this.#readings[1].time > WINDOW_MS) {
      this.#readings.shift();
    }
    const [first, last] = [this.#readings[0], this.#readings.at(-1)];
    if (!first || first === last) return null;
    const [less, more] = [first, last].map(
        (reading) => reading.figures[worker]?.[name] ?? 0);
    // A worker that was replaced counts from nothing.
    return more < less ? null : (more - less) / ((now - first.time) / 1000);
  }
}

function rate(value) {
  if (value === null) return "–";
  return `${value < 10 ? value.toFixed(1) : e.count(Math.round(value))}/s`;
}

function workerPairs(worker, figures, rates) {
  const tokens = COUNTERS.map((name) => rates.of(e.shortName(worker.name), name));
  return e.pairs([
    ["state", e.badge(e.word(worker.state, "WORKER_STATE_"))],
    ["runs as", worker.launched_as || null],
    ["waits for", worker.waits_for || null],
    ["device", worker.device || "–"],
    ["memory", e.bytes(figures.dissonance_worker_resident_bytes)],
    ["weights", e.bytes(figures.dissonance_weight_bytes)],
    ["prompt tokens", rate(tokens[0])],
    ["generated tokens", rate(tokens[1])],
    ["trained tokens",
     figures.dissonance_trainings > 0 ? rate(tokens[2]) : null],
    ["sequences", e.count(figures.dissonance_sequences)],
    ["rows of the last step", e.count(figures.dissonance_batch_rows)],
    ["keys and values", e.bytes(figures.dissonance_kv_cache_bytes)],
    ["restarts", worker.restart_count > 0 ? e.count(worker.restart_count)
                                          : null],
    ["ended last", worker.last_exit],
  ]);
}

function workerSection(parts, rates) {
  const {server, figures = {}} = parts;
  const workers = server.workers ?? [];
  return e.section(
      "worker", workers.length > 1 ? "Workers" : "Worker",
      server.maintenance
        ? e.el("p", {class: "note"},
               `No jobs are started: ${server.maintenance}`)
        : null,
      ...workers.map((worker) => {
        const name = e.shortName(worker.name);
        const pairs = workerPairs(worker, figures[name] ?? {}, rates);
        return workers.length > 1
            ? e.el("div", {}, e.el("h3", {}, name), pairs)
            : pairs;
      }));
}

// Cells that only administrators, who see everybody's jobs, need.
function withOwner(parts, cells, owner) {
  if (parts.server.caller?.scope !== "SCOPE_ADMIN") return cells;
  return [cells[0], owner, ...cells.slice(1)];
}

function jobTable(parts, label, columns, jobs, cellsOf, empty) {
  if (jobs.length === 0) return e.el("p", {class: "empty"}, empty);
  return e.table(label, withOwner(parts, columns, "Owner"), jobs.map((job) => ({
    key: job.name,
    cells: withOwner(parts, cellsOf(job), e.shortName(job.owner)),
  })));
}

function runningSection(parts) {
  const {jobs, server} = parts;
  return e.section("running", "Running", jobTable(
      parts, "Running jobs",
      ["Job", "State", "Progress", "Rate", "Time left", "Actions"],
      jobs.running, (job) => {
        const left = e.secondsLeft(job);
        return [
          e.jobLink(job), e.badge(e.jobState(job)), e.progress(job),
          e.speed(job) ?? "–",
          left === null ? "–" : `about ${e.duration(left)}`,
          e.actions(job, server.caller),
        ];
      }, "No job runs."));
}

function queueSection(parts) {
  const {jobs, server} = parts;
  const place = (job) => Number(job.queue?.position ?? 0) || Infinity;
  const queued = [...jobs.queued].sort((a, b) => place(a) - place(b));
  return e.section(
      "queue",
      `Queue (${e.count(queued.length)}${jobs.has_more ? " and more" : ""})`,
      jobTable(parts, "Queued jobs",
               ["Job", "Place", "State", "Waits for", "Starts", "Actions"],
               queued, (job) => [
                 e.jobLink(job),
                 Number.isFinite(place(job)) ? e.count(place(job)) : "–",
                 e.badge(e.jobState(job)),
                 job.queue?.waits_for || job.reason || "–",
                 e.startsIn(job) ?? "–",
                 e.actions(job, server.caller),
               ], "No job waits."));
}

function endedSection(parts) {
  const {jobs, server} = parts;
  const took = (job) => job.start_time
    ? e.duration((new Date(job.end_time) - new Date(job.start_time)) / 1000)
    : "–";
  return e.section("ended", "Ended lately", jobTable(
      parts, "Jobs that ended lately",
      ["Job", "State", "Ended", "Took", "Reason", "Actions"],
      jobs.ended, (job) => [
        e.jobLink(job), e.badge(e.jobState(job)), e.ago(job.end_time),
        took(job), job.reason || "–", e.actions(job, server.caller),
      ], "No job has ended."));
}

function modelsSection(parts) {
  const held = (it) =>
    it.resident ? e.bytes(it.resident_bytes) : "not resident";
  const shared = (it) => it.visibility === "VISIBILITY_LAB" ? "shared" : "";
  const rows = (parts.models ?? []).flatMap((model) => [
    {key: model.name, cells: [
      e.el("strong", {}, e.shortName(model.name)), held(model),
      [
       e.word(model.dtype, "DTYPE_"), model.device,
       model.pinned ? "pinned" : "", shared(model),
      ].filter((it) => it).join(", "),
      e.shortName(model.owner),
    ]},
    ...model.adapters.map((adapter) => ({key: adapter.name, cells: [
      `${e.shortName(model.name)}:${e.shortName(adapter.name)}`, held(adapter),
      [`rank ${adapter.rank}`, shared(adapter)].filter((it) => it).join(", "),
      e.shortName(adapter.owner),
    ]})),
  ]);
  return e.section("models", "Models and adapters", rows.length === 0
    ? e.el("p", {class: "empty"}, "No model is loaded.")
    : e.table("Models and adapters", ["Name", "Memory", "What", "Owner"],
              rows));
}

// "12 of 40", with a bar where there is a bound; 0: none.
function share(used, bound, say) {
  if (!(Number(bound) > 0)) return say(used);
  return e.el("span", {class: "progress"},
              e.el("meter", {max: bound, value: used,
                             "aria-label": "used of the quota"}),
              e.el("span", {}, `${say(used)} of ${say(bound)}`));
}

function usersSection(parts) {
  const sum = (parts.users ?? []).reduce(
      (all, user) => all + (user.usage?.decayed_device_seconds ?? 0), 0);
  const rows = (parts.users ?? []).map((user) => {
    const {usage = {}, effective_quota: quota = {}} = user;
    const own = usage.decayed_device_seconds ?? 0;
    return {key: user.name, cells: [
      e.shortName(user.name),
      share(usage.device_seconds_week, quota.device_seconds_per_week,
            e.duration),
      parts.users.length > 1 && sum > 0 ? `${Math.round(100 * own / sum)} %`
                                        : e.duration(own),
      share(usage.running_job_count, quota.running_job_count, e.count),
      share(usage.queued_job_count, quota.queued_job_count, e.count),
      share(usage.artifact_bytes, quota.artifact_bytes, e.bytes),
    ]};
  });
  return e.section("users", rows.length > 1 ? "Users" : "Your share", e.table(
      "Use and quotas", ["User", "Device, 7 days", "Share of late", "Running",
                         "Queued", "Artifacts"], rows));
}

// What changed of jobs, for those who listen.
function newsOf(before, after) {
  const known = new Map();
  for (const list of [before?.running, before?.queued, before?.ended]) {
    for (const job of list ?? []) known.set(job.name, e.jobState(job));
  }
  if (!before) return [];
  return [...after.running, ...after.queued, ...after.ended]
      .filter((job) => known.get(job.name) !== e.jobState(job))
      .map((job) => `${e.jobTitle(job)} is ${e.jobState(job)}`);
}

// Shows the page in `main` until the function that it returns is called.
export function showOverview(main, {say, onBreak, onServer}) {
  const parts = {};
  const rates = new Rates();
  const render = () => {
    if (!parts.server || !parts.jobs || !parts.users) return;
    const page = e.el("div", {}, e.el("h1", {class: "unseen"}, "Overview"),
                      workerSection(parts, rates), runningSection(parts),
                      queueSection(parts), endedSection(parts),
                      modelsSection(parts), usersSection(parts));
    e.morphChildren(main, page);
  };
  const stop = new AbortController();
  const timer = setInterval(render, RENDER_MS);
  follow("/api/events", {
    signal: stop.signal,
    onBreak,
    take: (part, data) => {
      if (part === "jobs") newsOf(parts.jobs, data).forEach(say);
      if (part === "figures") rates.add(data);
      if (part === "server") onServer(data);
      parts[part] = data;
      render();
    },
  }).catch(onBreak);
  return () => {
    clearInterval(timer);
    stop.abort();
  };
}
