// Opens a report in headless Chromium and says what is wrong with it.
//
//   node open_report.mjs ASSETS_DIR REPORT [SCREENSHOT_PREFIX]
//
// Exit codes: 0 nothing, 1 findings (a line each), 77 no browser or no driver.
import {existsSync} from "node:fs";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const [assets, report, screenshots] = process.argv.slice(2);
const BROWSERS = [process.env.CHROMIUM, "/usr/bin/chromium",
                  "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
// Long enough for a machine that is busy with other tests.
const PATIENCE = 240_000;  // ms
const VIEWS = [[1280, "light"], [1280, "dark"], [375, "light"], [375, "dark"]];

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

// Runs in the page.
function examine() {
  const charts = [...document.querySelectorAll(".chart")];
  const findings = [];
  for (const chart of charts) {
    const box = chart.querySelector("svg, canvas")?.getBoundingClientRect();
    if (!box || box.width < 50 || box.height < 20 ||
        chart.querySelectorAll("svg path").length < 2) {
      findings.push(`not drawn: ${chart.getAttribute("aria-label")} ` +
                    chart.textContent.slice(0, 200));
    }
  }
  if (charts.length === 0) findings.push("no charts");
  const wide = document.documentElement.scrollWidth;
  if (wide > document.documentElement.clientWidth) {
    findings.push(`the page is ${wide} pixels wide`);
  }
  if (document.querySelector("img, iframe")) findings.push("a foreign element");
  return findings;
}

async function look(browser, width, scheme) {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  const findings = [];
  page.on("console", (message) => findings.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => findings.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    findings.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    if (!/^(file|data):/.test(request.url())) {
      findings.push(`fetches ${request.url()}`);
    }
  });
  await page.setViewport({width, height: 900});
  await page.emulateMediaFeatures(
      [{name: "prefers-color-scheme", value: scheme}]);
  await page.goto(pathToFileURL(report).href);
  await page.waitForFunction(
      () => document.documentElement.dataset.charts === "drawn");
  findings.push(...await page.evaluate(examine));
  // Closed parts must not be wider either.
  await page.evaluate(() => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
  findings.push(...await page.evaluate(examine));
  if (screenshots) {
    await page.screenshot(
        {path: `${screenshots}-${width}-${scheme}.png`, fullPage: true});
  }
  await page.close();
  return findings.map((finding) => `${width} ${scheme}: ${finding}`);
}

const browser =
    await puppeteer.launch({executablePath, args: ["--no-sandbox"],
                            timeout: PATIENCE, protocolTimeout: PATIENCE});
const findings = [];
try {
  for (const [width, scheme] of VIEWS) {
    findings.push(...await look(browser, width, scheme));
  }
} catch (error) {
  findings.push(`failed: ${error.message}`);
} finally {
  await browser.close();
}
for (const finding of findings) console.log(finding);
process.exit(findings.length === 0 ? 0 : 1);
