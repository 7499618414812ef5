"use strict";
// The page can be read without this script, which unfolds targets of links, filters and highlights.
(() => {
  document.documentElement.classList.add("with-script");

  // Show the target of a link, even if it is folded or hidden by the filter.
  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (!target) return;
    for (let at = target; at; at = at.parentElement) {
      at.hidden = false;
      if (at.tagName === "DETAILS") at.open = true;
    }
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  // A second click on the same link does not change the hash.
  addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (link && link.getAttribute("href") === location.hash) reveal();
  });
  reveal();

  // Show times in the time zone of the browser in a tooltip.
  addEventListener("mouseover", (event) => {
    const time = event.target.closest("time[datetime]");
    if (time) time.title ||= `${time.textContent} UTC = ${new Date(time.dateTime).toLocaleString()}`;
  });

  // Text of more than three lines unfolds when it is clicked, and has a button for that.
  const unfold = (text) => {
    const isUnfolded = text.classList.toggle("unfolded");
    const button = text.nextElementSibling;
    button.textContent = isUnfolded ? "Show less" : "Show all";
    button.ariaExpanded = String(isUnfolded);
  };
  addEventListener("click", (event) => {
    const button = event.target.closest(".unfold");
    const text = button ? button.previousElementSibling : event.target.closest(".clamp.cut");
    if (text && (button || getSelection().isCollapsed)) unfold(text);
  });
  const measureText = (text) => {
    if (text.classList.contains("unfolded")) return;
    const isCut = text.scrollHeight > text.clientHeight + 1;
    if (isCut === text.classList.contains("cut")) return;
    text.classList.toggle("cut", isCut);
    if (!isCut) return text.nextElementSibling.remove();
    const button = document.createElement("button");
    button.type = "button";
    button.className = "unfold";
    button.textContent = "Show all";
    button.ariaExpanded = "false";
    text.after(button);
  };

  // A box that scrolls has an edge and can be reached by keyboard; other boxes have no tab stop.
  const measureBox = (box) => {
    const isWider = box.scrollWidth > box.clientWidth;
    if (isWider === box.classList.contains("wider")) return;
    box.classList.toggle("wider", isWider);
    for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", box.dataset.label]]) {
      if (isWider) box.setAttribute(name, value);
      else box.removeAttribute(name);
    }
  };
  // Texts and boxes are measured when they come into view, and whenever their size changes.
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) (target.classList.contains("scroll") ? measureBox : measureText)(target);
  });
  for (const each of document.querySelectorAll(".clamp, .scroll")) sizes.observe(each);

  // Highlight what an instance was made from, and what was made from it, when it is pointed at.
  const svg = document.querySelector("#lineage svg");
  if (svg) {
    const paths = [...svg.querySelectorAll("path[data-from]")];
    const rows = new Map([...svg.querySelectorAll("[data-node]")].map((row) => [row.dataset.node, row]));
    const reached = (start, here, there) => {
      const found = new Set([start]);
      const lit = [];
      for (const node of found) {
        for (const path of paths) {
          if (path.dataset[here] !== node) continue;
          lit.push(path);
          found.add(path.dataset[there]);
        }
      }
      return [found, lit];
    };
    const clear = () => {
      svg.classList.remove("lighting");
      for (const each of svg.querySelectorAll(".lit")) each.classList.remove("lit");
    };
    const light = (event) => {
      clear();
      const row = event.target.closest("[data-node]");
      if (!row) return;
      svg.classList.add("lighting");
      for (const way of [["from", "to"], ["to", "from"]]) {
        const [nodes, lit] = reached(row.dataset.node, ...way);
        for (const path of lit) path.classList.add("lit");
        for (const node of nodes) rows.get(node)?.classList.add("lit");
      }
    };
    svg.addEventListener("mouseover", light);
    svg.addEventListener("focusin", light);
    svg.addEventListener("mouseleave", clear);
    svg.addEventListener("focusout", clear);
  }

  // Show tables whose name has the words of the filter; of other tables, instances that have them.
  const filter = document.getElementById("filter");
  const found = document.getElementById("found");
  if (filter) {
    const tables = [...document.querySelectorAll("section.table")];
    const texts = new Map();
    const text = (element) => {
      if (!texts.has(element)) texts.set(element, element.textContent.toLowerCase());
      return texts.get(element);
    };
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fits = (element) => words.every((word) => text(element).includes(word));
      let count = 0;
      for (const table of tables) {
        const isNamed = fits(table.querySelector("h2"));
        let isShown = isNamed;
        for (const each of table.querySelectorAll(".instance, .preparing")) {
          const isKept = isNamed || fits(each);
          each.hidden = !isKept;
          isShown ||= isKept;
        }
        for (const earlier of table.querySelectorAll(".earlier")) {
          const isHit = earlier.querySelector(".instance:not([hidden])") !== null;
          earlier.hidden = !isHit;
          earlier.open ||= isHit && !isNamed;
        }
        table.hidden = !isShown;
        for (const row of document.querySelectorAll(`#tables a[href="#${table.id}"]`)) row.closest("tr").hidden = !isShown;
        count += isShown;
      }
      found.textContent = words.length ? `${count} of ${tables.length} tables` : "";
    });
  }
})();
