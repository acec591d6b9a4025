// Elements from a description of them, changing only what differs from the last description.
//
// Knows elements, attributes and order. Texts become text nodes and nothing else, so a name or a
// message can hold whatever it likes. Knows nothing of what is shown.

const SVG = 'http://www.w3.org/2000/svg';
const DESCRIBED = Symbol('the description that an element was last drawn from');

/**
 * Describes an element. Of `properties`: `key` tells it from its neighbours when they change places;
 * a function is a listener (`onclick`); `true` is an attribute without a value; `false`, `null` and
 * `undefined` are none; `value` and `checked` are set when the description of them changes, so that
 * what somebody types stays. Children are descriptions and texts; `null` and `false` are left out.
 */
export function h(tag, properties, ...children) {
  return { tag, properties: properties ?? {}, children: children.flat(Infinity).filter(isShown).map(plain) };
}

function isShown(child) {
  return child !== null && child !== undefined && child !== false && child !== true;
}

function plain(child) {
  return typeof child === 'object' ? child : String(child);
}

/**
 * Makes the children of `parent` be what `children` describe. An element that has the focus keeps it, even
 * when it changes places.
 */
export function draw(parent, ...children) {
  const focused = document.activeElement;
  drawChildren(parent, h('', null, ...children).children);
  if (focused !== document.activeElement && focused?.isConnected && parent.contains(focused)) {
    focused.focus({ preventScroll: true });
  }
}

function drawChildren(parent, wanted) {
  const keyed = new Map();
  for (const node of parent.childNodes) {
    const key = node[DESCRIBED]?.properties.key;
    if (key !== undefined) {
      keyed.set(key, node);
    }
  }
  let next = parent.firstChild;
  for (const child of wanted) {
    const node = reusable(child, next, keyed) ?? created(child, parent);
    if (node === next) {
      next = next.nextSibling;
    } else {
      parent.insertBefore(node, next);
    }
    update(node, child);
  }
  while (next) {
    const after = next.nextSibling;
    next.remove();
    next = after;
  }
}

/** The node that can become `child`: the one of its key, else the one that stands in its place. */
function reusable(child, inPlace, keyed) {
  if (typeof child === 'string') {
    return inPlace?.nodeType === Node.TEXT_NODE ? inPlace : undefined;
  }
  const fits = (node) => node?.[DESCRIBED]?.tag === child.tag;
  const { key } = child.properties;
  if (key !== undefined) {
    const node = keyed.get(key);
    return fits(node) ? node : undefined;
  }
  return fits(inPlace) && inPlace[DESCRIBED].properties.key === undefined ? inPlace : undefined;
}

function created(child, parent) {
  if (typeof child === 'string') {
    return document.createTextNode(child);
  }
  const inSvg = child.tag === 'svg' || parent.namespaceURI === SVG;
  const node = inSvg ? document.createElementNS(SVG, child.tag) : document.createElement(child.tag);
  node[DESCRIBED] = { tag: child.tag, properties: {}, children: [] };
  return node;
}

function update(node, child) {
  if (typeof child === 'string') {
    if (node.data !== child) {
      node.data = child;
    }
    return;
  }
  const before = node[DESCRIBED].properties;
  const after = child.properties;
  for (const name of Object.keys(before)) {
    if (!(name in after)) {
      set(node, name, null);
    }
  }
  // Children come before properties: a `select` has no value before it has options.
  drawChildren(node, child.children);
  for (const [name, value] of Object.entries(after)) {
    if (before[name] !== value) {
      set(node, name, value);
    }
  }
  node[DESCRIBED] = child;
}

function set(node, name, value) {
  if (name === 'key') {
    return;
  }
  if (name.startsWith('on')) {
    node[name] = value;
  } else if (name === 'value' || name === 'checked') {
    node[name] = value ?? '';
  } else if (value === null || value === undefined || value === false) {
    node.removeAttribute(name);
  } else {
    node.setAttribute(name, value === true ? '' : value);
  }
}
