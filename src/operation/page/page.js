"use strict";
// All text of the image comes as JSON and gets into the page as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const COLOURS = ["#3b6fd4", "#c2571a", "#2b8a5e", "#8a4fbf", "#b03a6b", "#2a8599", "#8d6e10", "#5a62c9", "#a0452f", "#4d7c2a"];
const CHANGES = { added: "#2b8a5e", removed: "#b8423a", changed: "#b07a12" };

function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties || {})) {
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key.startsWith("aria-") || key === "type" || key === "colspan") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// What would change the direction of what follows, or show as nothing, is shown as an escape.
function visible(text) {
  const strange = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
  return String(text).replace(strange, (letter) => "\\u{" + letter.codePointAt(0).toString(16) + "}");
}

function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) { count /= 1000; unit += 1; }
  return (unit === 0 || count >= 100 ? Math.round(count) : count >= 10 ? count.toFixed(1) : count.toFixed(2)) + " " + units[unit];
}

const many = (count, one, more) => count.toLocaleString("en") + " " + (count === 1 ? one : more || one + "s");
const mono = (text) => make("code", {}, visible(text));
const fact = (value, what) => make("div", { class: "fact" }, make("b", {}, value), make("span", {}, what));

function section(id, heading, about, ...children) {
  return make("section", { id }, make("h2", {}, heading), about ? make("p", { class: "soft" }, about) : null, ...children);
}

// A table that shows more rows on demand and is searched by the text of `key`.
function table(columns, rows, key) {
  const STEP = 25;
  let shown = STEP, found = rows;
  const body = make("tbody");
  const more = make("button", { type: "button", onclick: () => { shown += 10 * STEP; draw(); } });
  const bar = make("div", { class: "bar" }, more);
  const draw = () => {
    body.replaceChildren(...found.slice(0, shown).map((row) =>
      make("tr", {}, ...columns.map(([name, cell, number]) => make("td", { class: number ? "number" : name === "" ? "narrow" : "" }, cell(row))))));
    bar.hidden = found.length <= shown;
    more.textContent = "Show more (" + (found.length - shown) + " left)";
  };
  const search = make("input", { type: "search", placeholder: "Search " + many(rows.length, "row"), "aria-label": "Search" });
  search.addEventListener("input", () => {
    const wanted = search.value.toLowerCase();
    found = rows.filter((row) => key(row).toLowerCase().includes(wanted));
    shown = STEP;
    draw();
  });
  draw();
  const head = make("tr", {}, ...columns.map(([name, , number]) => make("th", { class: number ? "number" : "" }, name)));
  return make("div", {}, rows.length > 20 ? make("div", { class: "bar" }, search) : null,
    make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), body)), bar);
}

// Squarified treemap (Bruls, Huizing, van Wijk, 2000): rectangles whose sides differ least.
function squarify(items, x, y, width, height) {
  const placed = [];
  const total = items.reduce((sum, item) => sum + item.size, 0);
  if (total <= 0 || width <= 0 || height <= 0) return placed;
  const scale = (width * height) / total;
  const worst = (row, sum, side) => {
    const area = sum * scale;
    const largest = row[0].size * scale, smallest = row[row.length - 1].size * scale;
    return Math.max((side * side * largest) / (area * area), (area * area) / (side * side * smallest));
  };
  let at = 0;
  while (at < items.length) {
    const side = Math.min(width, height);
    const row = [items[at]];
    let sum = items[at].size;
    at += 1;
    while (at < items.length && worst([...row, items[at]], sum + items[at].size, side) <= worst(row, sum, side)) {
      sum += items[at].size;
      row.push(items[at]);
      at += 1;
    }
    const depth = (sum * scale) / side;
    let along = 0;
    for (const item of row) {
      const length = (item.size * scale) / depth;
      placed.push(width >= height ? [item, x, y + along, depth, length] : [item, x + along, y, length, depth]);
      along += length;
    }
    if (width >= height) { x += depth; width -= depth; } else { y += depth; height -= depth; }
  }
  return placed;
}

// A treemap of nodes { name, size, colour, hidden, about, children }, which opens what is clicked.
function treemap(rootOf, controls, legend) {
  const area = make("div", { class: "map" });
  const crumbs = make("div", { class: "crumbs" });
  const hint = make("div", { class: "hint soft" }, "Click a folder to look into it.");
  let trail = [rootOf()];
  const path = () => trail.map((node) => node.name).filter((name) => name !== "");
  const tell = (node, names) => {
    const of = trail[0].size;
    const share = of > 0 ? " · " + ((100 * node.size) / of).toFixed(1) + " %" : "";
    hint.textContent = visible("/" + names.join("/")) + " · " + bytes(node.size) + share + (node.about ? " · " + node.about : "");
  };
  const draw = () => {
    crumbs.replaceChildren(...trail.map((node, depth) =>
      make("button", { type: "button", onclick: () => { trail = trail.slice(0, depth + 1); draw(); } },
        depth === 0 ? "all" : visible(node.name))));
    area.replaceChildren();
    let budget = 4000;
    const cells = (node, x, y, width, height, names, above) => {
      const inside = (node.children || []).filter((child) => child.size > 0);
      const told = inside.reduce((sum, child) => sum + child.size, 0);
      const items = inside.slice();
      if (node.size - told > 0) {
        items.push({ name: "", rest: true, size: node.size - told, colour: node.colour, hidden: 0, children: [] });
      }
      items.sort((a, b) => b.size - a.size);
      for (const [item, left, top, wide, high] of squarify(items, x, y, width, height)) {
        if (wide < 3 || high < 3 || budget <= 0) continue;
        budget -= 1;
        const whole = item.rest ? names : [...names, item.name];
        const opens = (item.children || []).length > 0;
        const cell = make("div", { class: "cell" + (opens ? " open" : "") + (item.size > 0 && item.hidden * 2 > item.size ? " hidden" : "") });
        cell.style.left = left + "px";
        cell.style.top = top + "px";
        cell.style.width = wide + "px";
        cell.style.height = high + "px";
        cell.style.background = item.colour;
        if (wide > 34 && high > 15) cell.textContent = item.rest ? "(smaller files)" : visible(item.name);
        const stack = opens ? [...above, item] : above;
        cell.addEventListener("click", (event) => {
          event.stopPropagation();
          // The folder just below the one that is shown: one step at a time.
          if (stack.length > trail.length) { trail = stack.slice(0, trail.length + 1); draw(); }
        });
        cell.addEventListener("mouseover", (event) => { event.stopPropagation(); tell(item, whole); });
        area.append(cell);
        if (opens && wide > 30 && high > 36) cells(item, left + 2, top + 17, wide - 4, high - 19, whole, stack);
      }
    };
    if (trail[0].size === 0) hint.textContent = "No file with any bytes is here.";
    cells(trail[trail.length - 1], 0, 0, area.clientWidth || 1100, area.clientHeight || 520, path(), trail);
  };
  const restart = () => { trail = [rootOf()]; draw(); };
  window.addEventListener("resize", draw);
  requestAnimationFrame(draw);
  return [make("div", { class: "bar" }, crumbs, ...controls(restart)), area, hint, make("div", { class: "legend" }, ...legend)];
}

function legendEntry(colour, text) {
  const swatch = make("i");
  swatch.style.background = colour;
  return make("span", { title: visible(text) }, swatch, visible(text));
}

function config(values) {
  const list = make("dl");
  const put = (name, value) => list.append(make("dt", {}, name), make("dd", {}, mono(value)));
  const words = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  for (const [name, value] of Object.entries(values || {})) {
    if (value === null || value === "" || (typeof value === "object" && Object.keys(value).length === 0)) continue;
    if (name === "Env") value.forEach((pair) => put("Env", pair));
    else if (name === "Labels") Object.entries(value).forEach(([key, text]) => put("Label", key + "=" + text));
    else if (name === "ExposedPorts" || name === "Volumes") put(name, Object.keys(value).join(" "));
    else put(visible(name), words(value));
  }
  return list;
}

function image(page) {
  const layerColour = (number) => COLOURS[number % COLOURS.length];
  const hiddenBytes = page.layers.reduce((sum, layer) => sum + layer.root.hidden, 0);
  const shownBytes = page.layers.reduce((sum, layer) => sum + layer.root.shown, 0);
  const duplicateBytes = page.duplicates.reduce((sum, group) => sum + group.size * (group.paths.length - 1), 0);
  const layerName = (number) => "Layer " + (number + 1);

  const byLayer = () => ({
    name: "", size: hiddenBytes + shownBytes, colour: COLOURS[0], hidden: 0,
    children: page.layers.map((layer, number) => {
      const node = (folder, name) => ({
        name, size: folder.shown + folder.hidden, hidden: folder.hidden, colour: layerColour(number),
        about: many(folder.files, "file") + (folder.hidden > 0 ? ", " + bytes(folder.hidden) + " of it hidden" : ""),
        children: (folder.children || []).map((child) => node(child, child.name)),
      });
      return node(layer.root, layerName(number));
    }),
  });
  // The layers on top of each other: what a container sees.
  const byFolder = () => {
    const merge = (folders, name) => {
      const size = folders.reduce((sum, [, folder]) => sum + folder.shown, 0);
      const [most] = folders.reduce((best, one) => (one[1].shown > best[1].shown ? one : best));
      const names = new Map();
      for (const [layer, folder] of folders) {
        for (const child of folder.children || []) {
          if (!names.has(child.name)) names.set(child.name, []);
          names.get(child.name).push([layer, child]);
        }
      }
      const from = folders.filter(([, folder]) => folder.shown > 0).map(([layer]) => layerName(layer));
      return { name, size, hidden: 0, colour: layerColour(most), about: from.join(", "),
        children: [...names].map(([child, parts]) => merge(parts, child)) };
    };
    return page.layers.length > 0 ? merge(page.layers.map((layer, number) => [number, layer.root]), "") : { name: "", size: 0, children: [] };
  };
  // Where no file is seen, the layers are all that there is to see.
  let view = shownBytes === 0 && hiddenBytes > 0 ? byLayer : byFolder;
  const controls = (restart) => {
    const choice = (name, wanted) => make("button", { type: "button", "aria-pressed": String(view === wanted), onclick: (event) => {
      view = wanted;
      event.target.parentNode.querySelectorAll("[aria-pressed]").forEach((other) => other.setAttribute("aria-pressed", String(other === event.target)));
      restart();
    } }, name);
    return [choice("By folder", byFolder), choice("By layer", byLayer)];
  };
  const legend = page.layers.map((layer, number) => legendEntry(layerColour(number), layerName(number) + "  " + layer.step));

  document.title = visible(page.name) + " · image";
  return [
    make("h1", {}, visible(page.name)),
    make("p", { class: "sub soft" }, mono(page.digest), " · " + visible(page.platform) + (page.created ? " · " + visible(page.created) : "")),
    make("div", { class: "facts" }, fact(bytes(page.size), "in a registry"), fact(bytes(shownBytes), "in files that a container sees"),
      fact(bytes(hiddenBytes), "hidden in lower layers"), fact(bytes(duplicateBytes), "in duplicates"), fact(String(page.layers.length), "layers")),
    section("sizes", "Where the bytes are", null, ...treemap(() => view(), controls, legend)),
    section("layers", "Layers", null, table([
      ["#", (layer) => String(page.layers.indexOf(layer) + 1), true],
      ["Created by", (layer) => make("div", {}, mono(layer.step || "-"), make("div", { class: "soft mono" }, layer.digest))],
      ["Stored", (layer) => bytes(layer.size), true], ["Files", (layer) => layer.root.files.toLocaleString("en"), true],
      ["Unpacked", (layer) => bytes(layer.root.shown + layer.root.hidden), true], ["Hidden", (layer) => (layer.root.hidden ? bytes(layer.root.hidden) : "-"), true],
    ], page.layers, (layer) => layer.step)),
    section("hidden", "Hidden by a layer above", page.hidden_files === 0 ? "No file of a layer is replaced or removed by a layer above." :
      many(page.hidden_files, "file") + " that everybody who pulls the image downloads, and that no container sees." +
      (page.hidden_files > page.hidden.length ? " The " + page.hidden.length + " largest:" : ""),
      page.hidden_files === 0 ? null : table([
        ["Path", (file) => mono(file.path)], ["Size", (file) => bytes(file.size), true], ["In layer", (file) => String(file.layer + 1), true],
        ["How", (file) => make("span", { class: "mark " + (file.replaced ? "changed" : "removed") },
          (file.replaced ? "replaced in layer " : "removed in layer ") + (file.by + 1) + (file.same_content ? ", same content" : ""))],
      ], page.hidden, (file) => file.path)),
    section("duplicates", "Duplicates", page.duplicate_groups === 0 ? "No two files have the same content." :
      many(page.duplicate_groups, "content is", "contents are") + " in the image more than once." +
      (page.duplicate_groups > page.duplicates.length ? " The " + page.duplicates.length + " that take the most room:" : ""),
      page.duplicate_groups === 0 ? null : table([
        ["Files", (group) => make("div", {}, ...group.paths.slice(0, 5).map((path) => make("div", {}, mono(path))),
          group.paths.length > 5 ? make("details", {}, make("summary", {}, many(group.paths.length - 5, "more file", "more files")),
            ...group.paths.slice(5).map((path) => make("div", {}, mono(path)))) : null)],
        ["Each", (group) => bytes(group.size), true], ["Could be saved", (group) => bytes(group.size * (group.paths.length - 1)), true],
      ], page.duplicates, (group) => group.paths.join("\n"))),
    section("config", "Configuration", null, config(page.config)),
  ];
}

function diff(page) {
  const mark = (change) => make("span", { class: "mark " + change }, change);
  const value = (one) => (one === null ? make("span", { class: "soft" }, "not set") : mono(typeof one === "string" ? one : JSON.stringify(one)));
  const versions = (all) => (all.length ? mono(all.join(", ")) : make("span", { class: "soft" }, "–"));
  const change = (one) => (one.old.length === 0 ? "added" : one.new.length === 0 ? "removed" : "changed");
  const sum = (wanted) => page.files.filter((file) => file.change === wanted).reduce((all, file) => all + file.size, 0);

  const tree = () => {
    const root = { name: "", size: 0, hidden: 0, colour: CHANGES.changed, children: new Map(), changes: {} };
    for (const file of page.files) {
      if (file.size === 0) continue;
      let node = root;
      const names = file.path.split("/").filter((name) => name !== "").slice(0, 24);
      for (const name of [null, ...names]) {
        if (name !== null) {
          if (!node.children.has(name)) node.children.set(name, { name, size: 0, hidden: 0, children: new Map(), changes: {} });
          node = node.children.get(name);
        }
        node.size += file.size;
        node.changes[file.change] = (node.changes[file.change] || 0) + file.size;
      }
    }
    const finish = (node) => {
      const [most] = Object.entries(node.changes).reduce((best, one) => (one[1] > best[1] ? one : best), ["changed", 0]);
      node.colour = CHANGES[most];
      node.about = Object.entries(node.changes).map(([name, size]) => bytes(size) + " " + name).join(", ");
      node.children = [...node.children.values()];
      node.children.forEach(finish);
      return node;
    };
    return finish(root);
  };
  const aspects = (file) => {
    const lines = file.differs.map((one) => make("div", {}, make("span", { class: "soft" }, one.what + " "),
      one.what === "content" ? null : mono(one.old || "–"), one.what === "content" ? null : " → ", one.what === "content" ? null : mono(one.new || "–")));
    if (file.text) {
      const line = (text) => make("span", { class: text.startsWith("+") ? "added" : text.startsWith("-") ? "removed" : "" }, visible(text));
      lines.push(make("details", {}, make("summary", {}, "lines"), make("pre", {}, ...file.text.trimEnd().split("\n").map(line))));
    }
    if (file.kind === "directory" && file.change !== "changed") lines.push(make("div", { class: "soft" }, many(file.entries, "file or folder", "files and folders") + " in it"));
    return make("div", {}, ...lines);
  };
  const steps = (rows, what) => table([["", (one) => mark(one.change)], [what, (one) => mono(one.text)],
    ["", (one) => (one.size === null ? "" : bytes(one.size)), true]], rows, (one) => one.text);
  const named = (side) => make("div", {}, mono(side.name), make("span", { class: "soft mono" }, "  " + side.digest));
  const none = (what) => "The images do not differ in " + what + ".";
  const sized = page.files.some((file) => file.size > 0);

  document.title = visible(page.old.name) + " → " + visible(page.new.name);
  return [
    make("h1", {}, visible(page.old.name) + " → " + visible(page.new.name)),
    make("div", { class: "sub" }, named(page.old), named(page.new)),
    page.same ? section("same", "Nothing differs", "Configuration, steps, layers, packages and files are the same.") : null,
    make("div", { class: "facts" }, fact(String(page.config.length), "values of the configuration"), fact(String(page.layers.length), "layers"),
      fact(String(page.packages.length), "packages"), fact(page.files.length.toLocaleString("en"), "files and folders"),
      fact("+" + bytes(sum("added")), "in files that are new"), fact("−" + bytes(sum("removed")), "in files that are gone")),
    sized ? section("sizes", "Where files differ", null, ...treemap(tree, () => [], Object.entries(CHANGES).map(([name, colour]) => legendEntry(colour, name)))) : null,
    section("config", "Configuration", page.config.length ? null : none("their configuration"), page.config.length === 0 ? null : table([
      ["Value", (one) => mono(one.field)], ["Old", (one) => value(one.old)], ["New", (one) => value(one.new)]], page.config, (one) => one.field)),
    section("history", "Steps", page.history.length ? null : none("their steps"), page.history.length === 0 ? null : steps(page.history, "Step")),
    section("layers", "Layers", page.layers.length ? null : none("their layers"), page.layers.length === 0 ? null : steps(page.layers, "Layer")),
    section("packages", "Packages", page.packages.length ? null : none("their packages"), page.packages.length === 0 ? null : table([
      ["", (one) => mark(change(one))], ["Kind", (one) => one.kind], ["Name", (one) => mono(one.name)], ["Old", (one) => versions(one.old)],
      ["New", (one) => versions(one.new)]], page.packages, (one) => one.kind + " " + one.name)),
    section("files", "Files", page.files.length ? null : none("their files"), page.files.length === 0 ? null : table([
      ["", (file) => mark(file.change)], ["Path", (file) => mono(file.path + (file.kind === "directory" ? "/" : ""))], ["What", aspects],
      ["Size", (file) => (file.kind === "file" || file.size > 0 ? bytes(file.size) : visible(file.kind)), true]], page.files, (file) => file.path)),
  ];
}

const parts = data.page === "image" ? image(data.report) : diff(data.report);
document.querySelector("main").replaceChildren(...parts.filter((part) => part !== null),
  make("footer", {}, "Made by mpimg " + data.version + ". This page loads nothing from elsewhere."));
