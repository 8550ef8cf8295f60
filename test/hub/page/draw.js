/**
 * Draws the page as it is on the screen as an SVG: boxes with their colours and borders, lines of text where they stand, and the page's own drawings. Runs in the
 * page, with the text of its icon in `ICON`; its value is the SVG's text. What stands below the agents is left out.
 */
(() => {
  const ns = 'http://www.w3.org/2000/svg';
  const end = document.querySelector('#agents-title').closest('section').getBoundingClientRect().bottom + 12;
  const width = document.documentElement.clientWidth;
  const parts = [];
  const classes = new Map();

  /** Styles that many have are said once. */
  const classOf = (style) => {
    if (!classes.has(style)) classes.set(style, `c${classes.size}`);
    return classes.get(style);
  };
  const round = (value) => String(Math.round(value * 10) / 10);
  const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  const hex = (color) => {
    const [red, green, blue, alpha = 1] = color.match(/[\d.]+/g).map(Number);
    const digits = [red, green, blue].map((value) => Math.round(value).toString(16).padStart(2, '0')).join('');
    return Number(alpha) === 0 ? null : `#${digits}`;
  };

  const box = (element) => {
    const style = getComputedStyle(element);
    const { x, y, width: w, height: h } = element.getBoundingClientRect();
    const fill = hex(style.backgroundColor);
    const [top, left] = [parseFloat(style.borderTopWidth), parseFloat(style.borderLeftWidth)];
    const bottom = parseFloat(style.borderBottomWidth);
    const radius = Math.min(style.borderTopLeftRadius.endsWith('%') ? h / 2 : parseFloat(style.borderTopLeftRadius), h / 2);
    const framed = top > 0 && left > 0;
    if (fill !== null || framed) {
      const edge = framed ? top / 2 : 0;
      const look = `fill:${fill ?? 'none'}${framed ? `;stroke:${hex(style.borderTopColor)};stroke-width:${top}` : ''}`;
      const size = `x="${round(x + edge)}" y="${round(y + edge)}" width="${round(w - 2 * edge)}" height="${round(h - 2 * edge)}"`;
      parts.push(`<rect class="${classOf(look)}" ${size}${radius > 0 ? ` rx="${round(radius)}"` : ''}/>`);
    }
    if (framed) return;
    const line = (at, thick, color) =>
      parts.push(
        `<path class="${classOf(`stroke:${hex(color)};stroke-width:${thick}`)}" d="M${round(x)} ${round(at)}h${round(w)}"/>`,
      );
    if (top > 0) line(y + top / 2, top, style.borderTopColor);
    if (bottom > 0) line(y + h - bottom / 2, bottom, style.borderBottomColor);
  };

  /** Each of its lines: what of the text lies at one height. */
  const text = (node) => {
    const range = document.createRange();
    const lines = [];
    for (let at = 0; at < node.data.length; at++) {
      range.setStart(node, at);
      range.setEnd(node, at + 1);
      const [rect] = range.getClientRects();
      if (rect === undefined || rect.width === 0) continue;
      const last = lines.at(-1);
      if (last !== undefined && Math.abs(last.bottom - rect.bottom) < 2)
        Object.assign(last, { right: rect.right, said: last.said + node.data[at] });
      else lines.push({ left: rect.left, right: rect.right, top: rect.top, bottom: rect.bottom, said: node.data[at] });
    }
    const style = getComputedStyle(node.parentElement);
    const size = parseFloat(style.fontSize);
    const mono = style.fontFamily.includes('monospace') ? ';font-family:monospace' : '';
    const heavy = Number(style.fontWeight) > 400 ? `;font-weight:${style.fontWeight}` : '';
    const under = style.textDecorationLine === 'underline' ? ';text-decoration:underline' : '';
    const name = classOf(`fill:${hex(style.color)};font-size:${round(size)}px${heavy}${mono}${under}`);
    for (const { left, right, top, bottom, said } of lines) {
      if (said.trim() === '') continue;
      // The width is that of the fonts here: others are made to fit.
      const fit = `textLength="${round(right - left)}" lengthAdjust="spacingAndGlyphs"`;
      parts.push(
        `<text class="${name}" x="${round(left)}" y="${round((top + bottom) / 2 + size * 0.36)}" ${fit}>${escape(said.trimEnd())}</text>`,
      );
    }
  };

  /** A drawing of the page's, with the colours that its classes stand for. */
  const drawing = (svg) => {
    const { x, y, width: w, height: h } = svg.getBoundingClientRect();
    const { width: from, height: high } = svg.viewBox.baseVal;
    const [wide, tall] = [w / from, h / high];
    const points = (d) =>
      d.replaceAll(
        /([ML]?)(-?[\d.]+) (-?[\d.]+)/g,
        (_, word, left, top) => `${word}${round(x + left * wide)} ${round(y + top * tall)}`,
      );
    for (const shape of svg.querySelectorAll('path, line')) {
      const style = getComputedStyle(shape);
      const at = (name) => shape.getAttribute(name);
      const d = points(shape.localName === 'path' ? (at('d') ?? '') : `M${at('x1')} ${at('y1')}L${at('x2')} ${at('y2')}`);
      if (d === '') continue;
      const [fill, stroke] = [style.fill, style.stroke].map((color) => (color === 'none' ? null : hex(color)));
      const faint = Number(style.fillOpacity) * Number(style.opacity);
      const look = `fill:${fill ?? 'none'}${fill !== null && faint < 1 ? `;fill-opacity:${faint}` : ''}`;
      const line = stroke === null ? '' : `;stroke:${stroke};stroke-width:${parseFloat(style.strokeWidth)}`;
      parts.push(`<path class="${classOf(look + line)}" d="${d}"/>`);
    }
  };

  /** What stands before an element by style alone becomes an element, which has a place. */
  const spellOut = () => {
    for (const element of document.querySelectorAll('body *')) {
      const style = getComputedStyle(element, '::before');
      if (style.content === 'none' || style.content === 'normal') continue;
      const made = document.createElement('span');
      for (const name of [
        'display',
        'width',
        'height',
        'margin',
        'borderRadius',
        'background',
        'color',
        'verticalAlign',
        'fontSize',
        'fontWeight',
      ])
        made.style[name] = style[name];
      made.textContent = style.content.replaceAll('"', '');
      element.classList.add('spelt-out');
      element.prepend(made);
    }
    const sheet = new CSSStyleSheet();
    sheet.replaceSync('.spelt-out::before { content: none !important; }');
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  };

  const icon = (image) => {
    const { x, y, width: w, height: h } = image.getBoundingClientRect();
    parts.push(ICON.replace('<svg ', `<svg x="${round(x)}" y="${round(y)}" width="${round(w)}" height="${round(h)}" `));
  };

  const walk = (element) => {
    const style = getComputedStyle(element);
    if (style.display === 'none' || style.visibility === 'hidden') return;
    const { top, bottom, width: w, height: h } = element.getBoundingClientRect();
    if (top >= end || bottom < 0 || (w <= 1 && h <= 1)) return;
    if (element.localName === 'svg') return drawing(element);
    box(element);
    if (element.localName === 'img') return icon(element);
    for (const child of element.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) text(child);
      else if (child.nodeType === Node.ELEMENT_NODE) walk(child);
    }
  };
  spellOut();
  walk(document.body);
  const styles = [...classes].map(([style, name]) => `.${name}{${style}}`).join('');
  const head = `<svg xmlns="${ns}" viewBox="0 0 ${width} ${round(end)}" width="${width}" height="${round(end)}">`;
  return `${head}<style>text{font-family:system-ui,"DejaVu Sans",sans-serif}${styles}</style>\n${parts.join('\n')}\n</svg>\n`;
})();
