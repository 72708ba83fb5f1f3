// Filters the rows, and asks for the list again while the page is open.
"use strict";
(() => {
  const filter = document.getElementById("filter");
  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    const rows = document.querySelectorAll("#runs tr");
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    document.getElementById("count").textContent = `${shown} of ${rows.length} runs`;
  };
  filter.oninput = apply;
  apply();
  let last = "";
  const refresh = async () => {
    try {
      const runs = await (await fetch("/runs.json")).text();
      const isOther = last ? runs !== last : JSON.parse(runs).length !== document.querySelectorAll("#runs tr").length;
      if (isOther) {
        const page = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
        document.getElementById("runs").replaceWith(page.getElementById("runs"));
        apply();
      }
      last = runs;
    } catch {
      // The server is gone; it may come back.
    }
    setTimeout(refresh, 1000);
  };
  refresh();
})();
