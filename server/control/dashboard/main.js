// Which page is shown, the token, and what all pages have: the server's state,
// messages, links and actions on jobs.

import {getJson, health, post, token} from "./api.js";
import {badge, el} from "./elements.js";
import {showJob} from "./job_page.js";
import {showOverview} from "./overview_page.js";

const HEALTH_MS = 10000;
const ENDS_SESSION = new Set(["UNAUTHENTICATED"]);

const place = (id) => document.getElementById(id);
const main = place("main");
let caller = null;
let page = null;

const tools = {
  caller: () => caller,
  say: (text) => { place("news").textContent = text; },
  onServer: (server) => {
    caller = server.caller;
    const scope = caller.scope.replace("SCOPE_", "").toLowerCase();
    place("caller").textContent =
        `${caller.user.replace("users/", "")} (${scope})`;
    showHealth(server.trouble || "ok");
  },
  // null: all is well again.
  onBreak: (error) => {
    if (error && ENDS_SESSION.has(error.code)) return forget(error.message);
    return alertWith(error ? error.message : "");
  },
};

function alertWith(text) {
  place("alert").textContent = text;
  place("alert").hidden = text === "";
}

function showHealth(state) {
  place("health").replaceChildren(badge(state));
}

function forget(why) {
  token.forget();
  caller = null;
  place("caller").textContent = "";
  route();
  alertWith(why);
}

function askForToken() {
  const input = el("input", {
    id: "token", type: "password", autocomplete: "off", required: true,
    spellcheck: "false",
  });
  const form = el(
      "form", {class: "token"}, el("h1", {}, "Who are you?"),
      el("label", {for: "token"}, "Access token"), input,
      el("button", {type: "submit"}, "Continue"),
      el("p", {class: "note"},
         "The owner's token is in owner.token of the server's data directory; ",
         "dissonance token create makes others. This tab forgets it when it ",
         "is closed."));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    token.set(input.value.trim());
    route();
  });
  main.replaceChildren(form);
  input.focus();
}

function route() {
  page?.stop();
  page = null;
  alertWith("");
  place("forget").hidden = token.get() === "";
  main.replaceChildren();
  document.title = "Dissonance";
  if (token.get() === "") return askForToken();
  const job = location.pathname.match(/^\/jobs\/([^/]+)$/)?.[1];
  if (job) {
    if (!caller) learnCaller();
    document.title = `Job ${job} - Dissonance`;
    page = showJob(main, job, tools);
  } else {
    page = {stop: showOverview(main, tools), refresh: () => {}};
  }
  return undefined;
}

// The page of a job does not tell.
function learnCaller() {
  getJson("/api/overview").then((all) => tools.onServer(all.server))
      .catch(tools.onBreak);
}

async function act(button) {
  const {action, job} = button.dataset;
  button.disabled = true;
  try {
    await post(`/api/jobs/${job}/${action}`);
    tools.say(`asked to ${action} the job`);
    alertWith("");
    page?.refresh();
  } catch (error) {
    tools.onBreak(error);
  } finally {
    button.disabled = false;
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (button) return act(button);
  const link = event.target.closest("a[data-link]");
  const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey &&
      !event.shiftKey && !event.altKey;
  if (!link || !isPlain) return undefined;
  event.preventDefault();
  history.pushState(null, "", link.getAttribute("href"));
  route();
  main.focus();
  window.scrollTo(0, 0);
  return undefined;
});
place("forget").addEventListener("click", () => forget(""));
window.addEventListener("popstate", route);

async function lookAtHealth() {
  if (!document.hidden) showHealth(await health());
}
setInterval(lookAtHealth, HEALTH_MS);
lookAtHealth();
route();
