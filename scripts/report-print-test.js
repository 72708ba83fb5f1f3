// Compares the colours of a report with those that its medium should have.
// `scripts/test-report` evaluates this in a browser that prefers dark pages.
"use strict";
window.colorsNow = (expected) => {
  const wrong = [];
  // 0 is black, and 1 is white.
  const brightness = ([r, g, b]) => (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
  const parts = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const check = (name, is) => {
    const hasLightInk = expected === "dark";
    if (is === null || (is > 0.5) !== hasLightInk) wrong.push(`${name}: ${is}`);
  };
  const style = (selector) => {
    const element = document.querySelector(selector);
    return element ? getComputedStyle(element) : null;
  };
  check("the background", 1 - brightness(parts(style("body").backgroundColor)));
  for (const selector of ["body", "#figures td", "h2"]) check(selector, brightness(parts(style(selector).color)));
  // The average pixel of text is bright on a dark page, and dark on a light one.
  const canvases = { "the timeline": "#timeline canvas", "the space-time diagram": "#spacetime canvas", "a chart": ".uplot canvas" };
  for (const [name, selector] of Object.entries(canvases)) {
    const canvas = document.querySelector(selector);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    // The text at the left: names of threads and nodes, and the numbers of an axis.
    const ratio = canvas.width / canvas.clientWidth;
    let sum = 0, count = 0;
    for (let at = 0; at < data.length; at += 4) {
      const x = (at / 4) % canvas.width;
      if (x > 55 * ratio || data[at + 3] < 200) continue;
      sum += brightness(data.subarray(at, at + 3));
      count += 1;
    }
    check(name, count ? sum / count : null);
  }
  return wrong;
};
// The faults, one line each, once the page has drawn itself.
window.printTest = async (expected, where) => {
  await new Promise((done) => setTimeout(done, 300));
  return window.colorsNow(expected).map((one) => `${where}, not ${expected}: ${one}`);
};
// Looks at the canvases during a print. The style of the page still is that of the screen then.
window.testAtPrint = () => {
  window.atPrint = ["no print happened"];
  addEventListener("beforeprint", () => queueMicrotask(() => {
    window.atPrint = window.colorsNow("light").map((one) => `in a print, not light: ${one}`);
  }), { once: true });
};
