// Uses the dashboard in headless Chromium as a person does, and says what is
// wrong with it.
//
//   TOKEN=... node use_dashboard.mjs ASSETS_DIR URL [SCREENSHOT_PREFIX]
//
// The server runs one job that takes its time. Exit codes: 0 nothing, 1 findings
// (a line each), 77 no browser or no driver.
import {existsSync} from "node:fs";
import {createRequire} from "node:module";

const [assets, url, screenshots] = process.argv.slice(2);
const BROWSERS = [process.env.CHROMIUM, "/usr/bin/chromium",
                  "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
// Long enough for a machine that is busy with other tests.
const PATIENCE = {timeout: 200000};
const SIGN_OF_LIFE_MS = 5000;

function skip(why) {
  console.log(why);
  process.exit(77);
}

const executablePath = BROWSERS.find((path) => path && existsSync(path));
if (!executablePath) skip("there is no chromium");
let puppeteer;
try {
  puppeteer = createRequire(`${assets}/package.json`)("puppeteer-core");
} catch {
  skip(`there is no puppeteer-core in ${assets}/node_modules`);
}

const findings = [];
const find = (what) => findings.push(what);

function listen(page) {
  page.on("console", (message) => find(`console: ${message.text()}`));
  page.on("pageerror", (error) => find(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    find(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(`${url}/`) &&
        !request.url().startsWith("blob:")) {
      find(`fetches ${request.url()}`);
    }
  });
}

// In the page: what is wrong with it as it is.
function examine() {
  const found = [];
  const wide = document.documentElement.scrollWidth;
  if (wide > document.documentElement.clientWidth) {
    found.push(`it is ${wide} pixels wide`);
  }
  if (document.querySelector("main img, main script, [onclick]")) {
    found.push("data became an element");
  }
  for (const control of document.querySelectorAll("button, input, a")) {
    const name = control.getAttribute("aria-label") || control.textContent ||
        control.labels?.[0]?.textContent;
    if (!name) found.push(`without a name: ${control.outerHTML}`);
  }
  return found;
}

async function look(page, name) {
  for (const [width, scheme] of
       [[1280, "light"], [1280, "dark"], [375, "light"], [375, "dark"]]) {
    await page.setViewport({width, height: 800});
    await page.emulateMediaFeatures(
        [{name: "prefers-color-scheme", value: scheme}]);
    for (const found of await page.evaluate(examine)) {
      find(`${name}, ${width} ${scheme}: ${found}`);
    }
    if (screenshots) {
      await page.screenshot({
        path: `${screenshots}-${name}-${width}-${scheme}.png`, fullPage: true});
    }
  }
  await page.setViewport({width: 1280, height: 800});
}

const texts = (page, selector) =>
  page.$eval(selector, (element) => element.textContent);

async function signIn(page) {
  await page.goto(url);
  await page.waitForSelector("#token", PATIENCE);
  await look(page, "token");
  // By the keyboard alone: the field has the focus.
  await page.keyboard.type(process.env.TOKEN);
  await page.keyboard.press("Enter");
  await page.waitForSelector("[aria-labelledby=running] progress", PATIENCE);
  const kept = await page.evaluate(
      () => [localStorage.length, document.cookie.length,
             sessionStorage.length]);
  if (kept.join() !== "0,0,1") find(`the token is kept elsewhere: ${kept}`);
}

async function watchProgress(page) {
  const bar = "[aria-labelledby=running] progress";
  const before = await page.$eval(bar, (it) => it.value);
  await page.waitForFunction(
      (selector, value) => document.querySelector(selector)?.value > value,
      PATIENCE, bar, before);
  await look(page, "overview");
}

async function cancel(page) {
  // What has the focus keeps it while the page changes around it.
  await page.focus("[data-action=cancel]");
  await page.keyboard.press("Enter");
  await page.waitForSelector(
      "[aria-labelledby=ended] [data-state=cancelled]", PATIENCE);
  const news = await texts(page, "#news");
  if (!/cancel/.test(news)) find(`what is announced: "${news}"`);
}

async function openJob(page) {
  // Not by its place, which may change just then.
  await page.focus("[aria-labelledby=ended] a");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#events", PATIENCE);
  await page.waitForFunction(
      () => /cancelled/i.test(document.querySelector(".events").textContent),
      PATIENCE);
  if (!/^\/jobs\/[0-9A-Z]{26}$/.test(new URL(page.url()).pathname)) {
    find(`the job's page is at ${page.url()}`);
  }
  await page.evaluate(() => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
  await look(page, "job");
  // Opened by its address, and left again.
  await page.reload();
  await page.waitForSelector("[data-action=retry]", PATIENCE);
  await page.goBack();
  await page.waitForSelector("[aria-labelledby=running]", PATIENCE);
}

// A pipeline's page, with answers made up here.
const PIPELINE = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const OTHER = "01BX5ZZKBKACTAV9WEVGEMMVRZ";
const output = (file_name, digest) =>
  ({file_name, artifact: `artifacts/sha256:${digest}`, size_bytes: "100"});
const ANSWERS = {
  [`/api/jobs/${PIPELINE}`]: JSON.stringify({
    name: `jobs/${PIPELINE}`, kind: "pipeline", state: "JOB_STATE_SUCCEEDED",
    owner: "users/ada", spec: {pipeline: {title: "all of it"}},
    outputs: [output("stages.json", "a"), output("gates.json", "b"),
              output("report.html", "c")],
  }),
  [`/api/jobs/${PIPELINE}/events`]:
      `event: job\ndata: {"state": "JOB_STATE_SUCCEEDED"}\n\n`,
  "/api/artifacts/sha256:a": JSON.stringify({stages: [
    {name: "train", kind: "fine_tune", job: `jobs/${OTHER}`,
     state: "succeeded", digest: "sha256:0123456789abcdef"}]}),
  "/api/artifacts/sha256:b": JSON.stringify({gates: [
    {gate: "behaviour", stage: "mcq", status: "warn",
     text: "<b>gap 15 points</b>"}]}),
  "/api/artifacts/sha256:c": `<!DOCTYPE html><title>r</title><p id="says"></p>
    <script>
    let says = "drawn";
    try { says += parent.sessionStorage.length; } catch { says += ", sealed"; }
    document.getElementById("says").textContent = says;
    </script>`,
};

async function openReport(page) {
  await page.setRequestInterception(true);
  page.on("request", (request) => {
    const body = ANSWERS[new URL(request.url()).pathname];
    return body ? request.respond({body}) : request.continue();
  });
  await page.goto(`${url}/jobs/${PIPELINE}`);
  await page.waitForSelector("[aria-labelledby=stages] tbody", PATIENCE);
  const tables = await texts(page, "[aria-labelledby=stages]");
  for (const text of ["train", "succeeded", OTHER, "0123456789ab",
                      "<b>gap 15 points</b>", "warn"]) {
    if (!tables.includes(text)) find(`not among stages and gates: ${text}`);
  }
  await page.click("[data-report]");
  const frame = await page.waitForFrame(
      (it) => it.url() === `${url}/report`, PATIENCE);
  const says = await frame.waitForFunction(
      () => document.getElementById("says")?.textContent, PATIENCE);
  if (await says.jsonValue() !== "drawn, sealed") {
    find(`the report says "${await says.jsonValue()}"`);
  }
  await look(page, "pipeline");
}

async function leave(page) {
  await page.click("#forget");
  await page.waitForSelector("#token", PATIENCE);
}

// For whoever waits, until the end.
setInterval(() => console.error("..."), SIGN_OF_LIFE_MS);
const browser =
    await puppeteer.launch({executablePath, args: ["--no-sandbox"],
                            timeout: PATIENCE.timeout,
                            protocolTimeout: PATIENCE.timeout});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE.timeout);
  listen(page);
  for (const step of [signIn, watchProgress, cancel, openJob, openReport,
                      leave]) {
    await step(page).catch((error) => {
      throw new Error(`${step.name}: ${error.message}`);
    });
  }
} catch (error) {
  find(`failed: ${error.message}`);
} finally {
  await browser.close();
}
for (const finding of findings) console.log(finding);
process.exit(findings.length === 0 ? 0 : 1);
