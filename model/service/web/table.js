// A table of what a plot draws. Texts only: nothing that comes from the engine is read as markup.

const MOST_ROWS = 60;

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  return made;
}

export class Table {
  #body;

  constructor(table, caption, titles) {
    const row = document.createElement("tr");
    row.append(...titles.map((title) => element("th", title, { scope: "col" })));
    const head = document.createElement("thead");
    head.append(row);
    this.#body = document.createElement("tbody");
    table.replaceChildren(element("caption", caption), head, this.#body);
  }

  /** Each row is a list of texts; the first names the row. */
  show(rows) {
    const made = rows.slice(0, MOST_ROWS).map(([first, ...others]) => {
      const row = document.createElement("tr");
      row.append(element("th", first, { scope: "row" }), ...others.map((text) => element("td", text)));
      return row;
    });
    this.#body.replaceChildren(...made);
  }
}
