// Tables that are sorted by the buttons in their heads and, when they are long, filtered by a field above them.

import { count, counted, h, redraw, table, write } from "./dom.js";

const LONG = 10; // from so many lines on there is a filter
const NAMES = new Intl.Collator("en", { numeric: true });

/** Create a table that can be sorted and filtered: its `element`, and `show(items)`.

    columns: of each the title, whether it is `numeric`, and `by`: the number, decimal text or text of an item by which
    it sorts (null is last); without `by` it does not. `within`: what items have in common that can be compared, such as
    the currency of an amount: they are sorted by it first, and then by the number. `row` makes the row of an item, `words` the text in which the
    filter looks. `state` is the order and the filter, for whoever makes the table again. */
export function listing({ label, columns, row, words, empty = "", noun = "line", id = null, state = {} }) {
  let items = [];
  let isPart = false; // of a list that the server gives in pages
  const field = h("input", {
    type: "search",
    value: state.filter ?? null,
    placeholder: "Filter",
    "aria-label": `Filter: ${label}`,
    autocomplete: "off",
    spellcheck: "false",
    on: { input: () => set({ filter: field.value }) },
  });
  // On a phone a row is a card, and the table has no head that could be pressed.
  const orders = h("select", { on: { change: () => set(JSON.parse(orders.value)) } }, options(columns));
  const told = h("small", { role: "status" });
  const tools = h(
    "div",
    { class: "row tools" },
    field,
    h("label", { class: "inline of-cards" }, "Sort by ", orders),
    told,
  );
  const list = h("div");

  function set(change) {
    Object.assign(state, change);
    draw();
  }

  /** Sort by a column: numbers by the largest first. The second time the other way, then as the server gave them. */
  function press(n) {
    const first = Boolean(columns[n].numeric);
    if (state.column !== n) set({ column: n, descending: first });
    else if (state.descending === first) set({ descending: !first });
    else set({ column: null, descending: false });
  }

  function draw() {
    const filter = (state.filter ?? "").trim();
    const column = state.column ?? null;
    const found = items.filter((each) => words(each).toLowerCase().includes(filter.toLowerCase()));
    const shown = column === null ? found : sorted(found, columns[column], state.descending);
    tools.hidden = items.length < LONG && !filter;
    orders.value = JSON.stringify(order(column, state.descending));
    const of = `${counted(items.length, noun)}${isPart ? " of this page" : ""}`;
    write(told, filter ? `${count(found.length)} of ${of}` : column === null ? "" : howSorted(columns[column], found));
    redraw(list, [shown, column, state.descending, filter], () => {
      if (!items.length) return h("p", { class: "empty" }, empty);
      if (!shown.length) return h("p", { class: "empty" }, `No ${noun} has “${filter}”.`);
      const sort = { column, descending: state.descending, can: (n) => Boolean(columns[n].by), press };
      const numeric = columns.flatMap((each, n) => (each.numeric ? [n] : []));
      const titles = columns.map((each) => each.title);
      return table({ label, titles, numeric, more: "lines", cards: true, sort }, shown.map(row));
    });
  }

  /** Say what the order is not: of all pages, or of amounts that cannot be compared. */
  function howSorted({ within }, found) {
    const isMixed = within && new Set(found.map(within)).size > 1;
    return [isPart && "Only this page is sorted.", isMixed && "Sorted within each currency."].filter(Boolean).join(" ");
  }

  return {
    element: h("div", { id }, tools, list),
    show: (given, { ofPages = false } = {}) => {
      items = given;
      isPart = ofPages;
      draw();
    },
  };
}

const order = (column, descending) => ({ column, descending: Boolean(descending) });

/** Choices of an order, for a list. */
function options(columns) {
  const choice = (value, text) => h("option", { value: JSON.stringify(value) }, text);
  const both = columns.flatMap(({ title, numeric, by }, n) => {
    if (!by) return [];
    const [up, down] = numeric ? ["smallest first", "largest first"] : ["A to Z", "Z to A"];
    const ways = [choice(order(n, false), `${title}, ${up}`), choice(order(n, true), `${title}, ${down}`)];
    return numeric ? ways.reverse() : ways;
  });
  return [choice(order(null, false), "the order of the server"), ...both];
}

/** Sort items. Floats are used for the order only. */
function sorted(items, { by, numeric, within = () => "" }, descending) {
  const compare = numeric ? (a, b) => Number(a) - Number(b) : NAMES.compare;
  const keyed = items.map((each) => [by(each) ?? null, each]);
  keyed.sort(([a, one], [b, other]) => {
    const apart = NAMES.compare(within(one), within(other));
    if (apart) return apart;
    if (a === null || b === null) return (a === null) - (b === null);
    return (descending ? -1 : 1) * compare(a, b);
  });
  return keyed.map(([, each]) => each);
}
