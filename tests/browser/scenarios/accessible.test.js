// Every view, light and dark, wide and on a phone, by axe; and what axe does not look at.
import test from "node:test";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { assert, open, press, says, views, visit } from "../support.js";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

async function look(page, what) {
  await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  const said = violations.map((one) => `${one.id}: ${one.help}\n    ${one.nodes.map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).join("\n    ")}`);
  assert.ok(passes.length > 10, `${what}: axe has looked`);
  assert.deepEqual(said, [], what);
}

for (const [name, options] of [["light, wide", {}], ["dark, wide", { dark: true }], ["light, phone", { width: 360, height: 740 }], ["dark, phone", { width: 360, height: 740, dark: true }]]) {
  test(`every view is accessible: ${name}`, async (context) => {
    const page = await open(context, options);
    await page.waitForSelector("main .numbers");
    const titles = new Map();
    for (const hash of await views()) {
      await visit(page, hash);
      await page.evaluate(() => [...document.querySelectorAll("main details")].slice(0, 2).forEach((one) => (one.open = true)));
      const state = await page.evaluate(() => ({
        title: document.title,
        headings: document.querySelectorAll("h1").length,
        sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        small: [...document.querySelectorAll("main button, main summary, main input:not([type=checkbox]), main select, .tabs a, .top button, .top a")].filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 43.5).map((one) => `${one.tagName} ${one.textContent}`),
      }));
      assert.equal(state.headings, 1, `${hash} has one heading of the first level`);
      assert.equal(state.sideways, 0, `${hash} does not scroll sideways`);
      if (options.width) assert.deepEqual(state.small, [], `${hash}: everything to touch is 44 pixels high`);
      titles.set(hash.split("?")[0], state.title);
      await look(page, `${hash} (${name})`);
    }
    assert.equal(new Set(titles.values()).size, titles.size, `each view has its own title: ${[...titles.values()]}`);
    await visit(page, "#/cache");
    await press(page, "Clear the cache…");
    await says(page, "dialog h2", "Clear the cache?");
    await look(page, `a dialog (${name})`);
  });
}

test("the question for the key is accessible", async (context) => {
  const page = await open(context, { key: null, expected: ["401", "/status"] });
  // A box without keys has no question.
  await page.waitForFunction(() => document.querySelector("dialog") || document.querySelector("main .numbers"));
  if (await page.$("dialog")) await look(page, "the question for the key");
});

test("focus goes to the heading of the view that was chosen", async (context) => {
  const page = await open(context);
  await page.waitForSelector("main .numbers");
  await press(page, "Audit trail", "nav a");
  await says(page, "main h1", "Audit trail");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Audit trail");
});
