#!/usr/bin/env node
import { once } from 'node:events';
import { runAuditCommand } from './command.js';

process.exitCode = await runAuditCommand(process.argv.slice(2), {
  print: (line) => console.log(line),
  write: async (text) => {
    if (!process.stdout.write(text)) await once(process.stdout, 'drain');
  },
  anchorKey: process.env['MCP_AUDIT_ANCHOR_KEY'],
});
