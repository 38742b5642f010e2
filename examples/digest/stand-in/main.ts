/**
 * What stands in for the internet: a site, whose pages are the Markdown files of a folder, and a model.
 *
 *   node main.js FOLDER
 *
 * Prints the addresses of both, and runs until it is told to stop.
 */
import { createServer } from 'node:http';
import type { RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { modelListener } from './model.js';
import { siteListener } from './site.js';

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: node main.js FOLDER');
console.log(await listen(siteListener(folder)), await listen(modelListener()));
