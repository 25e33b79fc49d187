// One visit of a tuf-js client; the request and the report are those of visit in client_test.go.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { Updater } = require('tuf-js');

function failed(error) {
  console.error(error);
  return `${error.constructor.name}: ${error.message}`;
}

async function visit(request) {
  const metadata = path.join(request.state, 'metadata');
  const download = path.join(request.state, 'download');
  const report = { found: [], missing: [], refused: [] };

  let client;
  try {
    if (!fs.existsSync(metadata)) {
      fs.mkdirSync(metadata, { recursive: true });
      fs.copyFileSync(request.root, path.join(metadata, 'root.json'));
    }
    client = new Updater({
      metadataDir: metadata,
      metadataBaseUrl: request.url + '/metadata',
      targetDir: path.join(request.state, 'targets'),
      targetBaseUrl: request.url + '/targets',
    });
    await client.refresh();
  } catch (error) {
    report.refresh = failed(error);
    return report;
  }

  for (const name of request.paths) {
    try {
      const target = await client.getTargetInfo(name);
      if (target === undefined) {
        report.missing.push(name);
        continue;
      }
      await client.downloadTarget(target, download);
      const content = crypto.createHash('sha256').update(fs.readFileSync(download)).digest('hex');
      const custom = Object.keys(target.custom).length > 0 ? target.custom : undefined;
      report.found.push({ path: target.path, length: target.length, hashes: target.hashes, custom, content });
    } catch (error) {
      report.refused.push({ path: name, error: failed(error) });
    }
  }
  return report;
}

visit(JSON.parse(fs.readFileSync(0, 'utf8'))).then((report) => {
  process.stdout.write(JSON.stringify(report));
});
