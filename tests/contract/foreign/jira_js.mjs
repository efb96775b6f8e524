// What npm's jira.js does with the sandbox Jira: unmodified, and every answer has to fit its schemas.
import { pathToFileURL } from 'node:url';

const [modules, host] = process.argv.slice(2);
const { createCloudClient } = await import(pathToFileURL(`${modules}/jira.js/${(await entry(modules))}`));

async function entry(folder) {
  const { readFile } = await import('node:fs/promises');
  const about = JSON.parse(await readFile(`${folder}/jira.js/package.json`, 'utf8'));
  const main = about.exports?.['.'] ?? about.main;
  return typeof main === 'string' ? main : main.import?.default ?? main.import ?? main.default;
}

const client = createCloudClient({
  host,
  auth: { type: 'basic', email: 'alice@example.com', apiToken: 'alice-token' },
  onSchemaMismatch: 'throw',
});
const text = { type: 'doc', version: 1, content: [{ type: 'paragraph', content: [{ type: 'text', text: 'hello' }] }] };

const me = await client.myself.getCurrentUser();
const { key } = await client.issues.createIssue({
  fields: { project: { key: 'OPS' }, issuetype: { name: 'Task' }, summary: 'from jira.js' },
});
const before = await client.issues.getIssue({ issueIdOrKey: key });
await client.issueComments.addComment({ issueIdOrKey: key, body: text });
const { transitions } = await client.issues.getTransitions({ issueIdOrKey: key });
const way = transitions.find((one) => one.to.name === 'In Progress');
await client.issues.doTransition({ issueIdOrKey: key, transition: { id: way.id } });
const after = await client.issues.getIssue({ issueIdOrKey: key });
const changes = await client.issues.getChangeLogs({ issueIdOrKey: key });
const found = await client.issueSearch.searchAndReconsileIssuesUsingJql({ jql: 'project = OPS', fields: ['summary'] });
const bulk = await client.issues.bulkFetchIssues({ issueIdsOrKeys: [key], fields: ['summary'] });
const project = await client.projects.getProject({ projectIdOrKey: 'OPS' });
const statuses = await client.projects.getAllStatuses({ projectIdOrKey: 'OPS' });
const comments = await client.issueComments.getComments({ issueIdOrKey: key });
const missing = await client.issues.getIssue({ issueIdOrKey: 'OPS-999' }).catch((error) => error.name);

console.log(JSON.stringify({
  me: me.emailAddress,
  before: before.fields.status.name,
  after: after.fields.status.name,
  changes: changes.values.flatMap((one) => one.items.map((item) => item.toString)),
  found: found.issues.map((one) => one.key).includes(key),
  bulk: bulk.issues.map((one) => one.key).includes(key),
  project: project.key,
  types: statuses.length > 0,
  comments: comments.comments.length,
  missing,
}));
