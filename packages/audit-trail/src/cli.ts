#!/usr/bin/env node
import { runAuditCommand } from './command.js';

process.exitCode = await runAuditCommand(process.argv.slice(2), (line) => console.log(line));
