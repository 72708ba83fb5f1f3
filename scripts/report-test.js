// Uses a report as a person would, in a browser, and leaves its findings in an element of the page.
// `scripts/test-report` puts this behind the page's own scripts.
"use strict";
(async () => {
  const found = { errors: window.reportErrors, checks: [] };
  const check = (name, passed) => found.checks.push({ name, passed: Boolean(passed) });
  const frames = async () => { for (let n = 0; n < 3; n++) await new Promise((done) => setTimeout(done, 60)); };
  const one = (selector) => document.querySelector(selector);
  try {
    await frames();
    check("the scripts ran to their end", document.body.dataset.ready === "true");
    check("there is a verdict", one("header .verdict").textContent);
    check("there are figures", one("#figures table").rows.length > 2);
    check("there are charts", document.querySelectorAll(".uplot canvas").length >= 2);
    const names = [...document.querySelectorAll("#charts .charts .u-legend")].map((legend) =>
      [...legend.querySelectorAll(".u-marker")].slice(1).map((marker) => getComputedStyle(marker).borderTopColor));
    check("functions and outcomes differ in colour", new Set(names[0]).size === names[0].length);
    const isDrawn = (canvas) => {
      const { width, height } = canvas;
      const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
      return pixels.some((value) => value !== 0);
    };
    check("the timeline is drawn", isDrawn(one("#timeline canvas")));
    check("the space-time diagram is drawn", isDrawn(one("#spacetime canvas")));
    const shown = () => Number(one("#spacetime").dataset.shown);
    const button = (place, text) => [...document.querySelectorAll(`${place} .tools button`)]
      .find((it) => it.textContent === text);
    button("#spacetime", "whole test").click();
    await frames();
    const all = shown();
    check("messages are shown", all > 0);
    const types = [...document.querySelectorAll("#spacetime .tools button .swatch")].map((it) => it.parentElement);
    types[0].click();
    await frames();
    check("a click on a type hides its messages", shown() < all);
    types[0].click();
    const search = one("#spacetime input");
    search.value = "no body has this text";
    search.dispatchEvent(new Event("input"));
    await frames();
    check("a text filters messages", shown() === 0);
    search.value = "";
    search.dispatchEvent(new Event("input"));
    const span = () => one("#spacetime .span").textContent;
    const before = span();
    button("#spacetime", "+").click();
    await frames();
    check("zooming in shows less time", span() !== before && shown() <= all);
    button("#spacetime", "whole test").click();
    await frames();
    check("the whole test comes back", span() === before && shown() === all);
    const bars = one("#timeline canvas");
    const move = (x, y) => bars.dispatchEvent(new PointerEvent("pointermove",
      { clientX: bars.getBoundingClientRect().left + x, clientY: bars.getBoundingClientRect().top + y, bubbles: true }));
    for (let x = 88; x < bars.clientWidth && one("div#tip").hidden; x += 2) move(x, 34);
    check("hovering over a bar shows its operation", !one("div#tip").hidden && one("div#tip").textContent.includes("of process"));
    // A row of places over the diagram: a click on one of them meets a message.
    const canvas = one("#spacetime canvas");
    const at = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type,
      { clientX: canvas.getBoundingClientRect().left + x, clientY: canvas.getBoundingClientRect().top + y, pointerId: 1, bubbles: true }));
    canvas.setPointerCapture = () => {};
    for (let x = 100; x < canvas.clientWidth && one("#selected").hidden; x += 3) {
      at("pointerdown", x, 64);
      at("pointerup", x, 64);
    }
    await frames();
    check("a click selects a message", !one("#selected").hidden && one("#selected h3").textContent.includes("→"));
    one("#selected .only").click();
    await frames();
    check("only the messages of the selection are shown", shown() > 0 && shown() < all);
    one("#selected .only").click();
    await frames();
    check("all messages come back", shown() === all);
    // A link of a drawing has no method `click`.
    const click = (link) => link.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
    for (const [name, place] of [["the evidence", "td a[data-event]"], ["the graph", "svg.graph a[data-event]"]]) {
      const link = one(place);
      if (!link) continue;
      one("#selected").hidden = true;
      click(link);
      await frames();
      const isSelected = !one("#selected").hidden && one("#selected h3").textContent.includes("of process");
      check(`a click on ${name} selects its operation`, isSelected);
    }
  } catch (error) {
    found.errors.push(String(error && error.stack || error));
  }
  const place = document.createElement("script");
  place.type = "application/json";
  place.id = "report-test";
  place.textContent = JSON.stringify(found).replaceAll("<", "\\u003c");
  document.body.append(place);
})();
