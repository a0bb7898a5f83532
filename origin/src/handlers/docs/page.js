// Shows each operation of openapi.json with a form, and what came of asking. Text only ever becomes text.
'use strict';

const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};

const token = document.getElementById('token');
let documentation;

const resolve = (value) => value && value.$ref
  ? resolve(value.$ref.slice(2).split('/').reduce((at, key) => at[key], documentation))
  : value;

// A body to begin with: what is required, with something in it.
const example = (schema) => {
  const s = resolve(schema) || {};
  if ('example' in s) return s.example;
  if (s.enum) return s.enum[0];
  if (s.type === 'object') {
    const fields = Object.entries(s.properties || {});
    const needed = fields.filter(([name]) => (s.required || []).includes(name));
    return Object.fromEntries((needed.length ? needed : fields).map(([name, field]) => [name, example(field)]));
  }
  if (s.type === 'integer') return s.minimum || 0;
  if (s.type === 'boolean') return true;
  return s.format === 'date' ? new Date().toISOString().slice(0, 10) : 'text';
};

const field = (label, input) => make('label', {}, make('span', { textContent: label }), ' ', input);

const show = async (answer, response, started) => {
  const milliseconds = Math.round(performance.now() - started);
  const fields = [...response.headers].map(([name, value]) => `${name}: ${value}`).join('\n');
  const text = await response.text();
  let body = text;
  try { body = JSON.stringify(JSON.parse(text), null, 2); } catch { /* It is no JSON. */ }
  answer.textContent = `${response.status} in ${milliseconds} ms\n${fields}\n\n${body.slice(0, 20000)}`;
  try {
    const given = JSON.parse(text).token;
    if (given) token.value = given;
  } catch { /* It is no JSON. */ }
};

const form = (method, path, operation, shared) => {
  const parameters = [...shared, ...(operation.parameters || [])].map(resolve);
  const inputs = parameters.map((parameter) => [parameter, make('input', { size: 30 })]);
  const content = (resolve(operation.requestBody) || {}).content || {};
  const [type] = Object.keys(content);
  const isText = type && type.includes('json');
  const body = type && (isText
    ? make('textarea', { value: JSON.stringify(example(content[type].schema), null, 2) })
    : make('input', { type: 'file' }));
  const answer = make('pre', { textContent: '' });

  const ask = async (event) => {
    event.preventDefault();
    let target = path;
    const query = new URLSearchParams();
    const headers = {};
    for (const [parameter, input] of inputs) {
      if (!input.value) continue;
      if (parameter.in === 'path') target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      if (parameter.in === 'query') query.set(parameter.name, input.value);
      if (parameter.in === 'header') headers[parameter.name] = input.value;
    }
    if (token.value) headers.authorization = `Bearer ${token.value}`;
    const sent = body && (isText ? body.value : body.files[0]);
    if (sent) headers['content-type'] = isText ? type : sent.type;
    const url = target + (String(query) && `?${query}`);
    const started = performance.now();
    try {
      await show(answer, await fetch(url, { method: method.toUpperCase(), headers, body: sent || undefined }), started);
    } catch (error) {
      answer.textContent = String(error);
    }
  };

  const named = inputs.map(([parameter, input]) => field(`${parameter.name} (${parameter.in})`, input));
  const page = make('form', { onsubmit: ask }, ...named);
  if (body) page.append(field(`body (${type})`, body));
  page.append(make('button', { textContent: 'Ask' }), answer);
  return make('details', {},
    make('summary', {}, make('b', { textContent: method.toUpperCase() }), `${path}  ${operation.summary || ''}`),
    make('p', { textContent: operation.description || '' }), page);
};

(async () => {
  documentation = await (await fetch('openapi.json')).json();
  const sections = new Map();
  for (const [path, { parameters = [], ...operations }] of Object.entries(documentation.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const tag = (operation.tags || ['Other'])[0];
      if (!sections.has(tag)) sections.set(tag, make('section', {}, make('h2', { textContent: tag })));
      sections.get(tag).append(form(method, path, operation, parameters));
    }
  }
  document.getElementById('operations').append(...sections.values());
})();
